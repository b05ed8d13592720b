"""The shipped sample of invented authors, loaded, recorded and solved once for all tests."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from language_helpers import byte_tokenizer, tiny

import engram_core as ec
from engram_core.language import TextSet, recall


@dataclass(frozen=True)
class Authors:
    """The sample, its engrams, and its recall before any edit."""

    sample: ec.Sample
    atlas: ec.Atlas
    before: pd.DataFrame

    @property
    def texts(self) -> TextSet:
        return self.sample.concepts.texts


@pytest.fixture(scope="session")
def authors() -> Authors:
    sample = ec.load_sample("authors-lm")
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    before = recall(sample.model, sample.concepts.tokenizer, sample.concepts.texts)
    return Authors(sample, atlas, before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A little Llama with its tokenizer, as transformers saves them."""
    path = tmp_path_factory.mktemp("models") / "little"
    tiny("llama").save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path
