"""The sample of digits with its engrams and a few of its inputs, as all tests of maps take them."""

import pytest

import engram_core as ec


@pytest.fixture(scope="module")
def sample():
    return ec.load_sample("digits-mlp")


@pytest.fixture(scope="module")
def atlas(sample):
    return ec.extract(sample.model, ec.record(sample.model, sample.concepts))


@pytest.fixture(scope="module")
def inputs(sample):
    return ec.draw_inputs(sample, per_concept=6)
