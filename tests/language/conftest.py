"""The engrams of a little Llama, as the tests of adapters take them."""

import pytest
from adapters import atlas_of

import engram_core as ec


@pytest.fixture(scope="module")
def llama() -> ec.Atlas:
    return atlas_of("llama")
