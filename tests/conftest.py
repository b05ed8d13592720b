"""Settings and trained models that all tests share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from helpers import Case, train_attention, train_cnn, train_mlp
from hypothesis import HealthCheck, settings
from shipped import ROOT, VISION

import engram_core as ec
from engram_core.concepts.sample import Sample
from engram_core.opening.samples import load_sample

if TYPE_CHECKING:
    from language_helpers import Authors

# One thread: the models here are small. With two on a busy two-core machine each waits for the other's
# turn, and recording one of them took 9 s instead of .05 s.
torch.set_num_threads(1)

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("local", deadline=None, max_examples=40, suppress_health_check=_QUIET)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

_CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give this run a cache of its own: what earlier runs have kept must not answer for what is tested now.

    The processes of one run share it, and with it the conversion of SmolLM2.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ["ENGRAM_CACHE"] = config.stash[_CACHE] = tempfile.mkdtemp(prefix="engram-tests-")


# Tests that run the core as a whole or beside other things: tracing would slow them down by half, and what
# they reach of the core by the way is no test of it.
_NOT_COUNTED = {"app", "attacks", "e2e", "oracle", "sample_models"}
# What these reach differs from run to run, and they go over the same lines thousands of times.
_RANDOM = {"test_random_trees.py", "test_fuzz_files.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the coverage of the core be that of its own tests."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here)
        if place.parts[0] in _NOT_COUNTED or place.name in _RANDOM:
            item.add_marker(pytest.mark.no_cover)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _CACHE in config.stash:
        shutil.rmtree(config.stash[_CACHE], ignore_errors=True)


@pytest.fixture(scope="session")
def digits() -> Case:
    """A trained MLP with biases, and its digits by class."""
    return train_mlp()


@pytest.fixture(scope="session")
def digits_cnn() -> Case:
    """A trained CNN: plain, grouped and strided convolutions, BatchNorm, Linear."""
    return train_cnn()


@pytest.fixture(scope="session")
def digits_attention() -> Case:
    """A trained nn.TransformerEncoder that reads digits row by row."""
    return train_attention()


# The language libraries take seconds to import: only where a test asks for one of these.
@pytest.fixture(scope="session")
def authors() -> Authors:
    """The shipped sample of invented authors, loaded, recorded and solved once for all tests."""
    from language_helpers import Authors

    from engram_core.language import recall

    sample = ec.load_sample("authors-lm")
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    before = recall(sample.model, sample.concepts.tokenizer, sample.concepts.texts)
    return Authors(sample, atlas, before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little Llama with its tokenizer, as transformers saves them."""
    from language_helpers import byte_tokenizer, tiny

    path = tmp_path_factory.mktemp("models") / "little"
    tiny("llama").save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module", params=list(VISION))
def sample(request: pytest.FixtureRequest) -> Sample:
    return load_sample(request.param)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a sample's folder, so that it can be damaged."""

    def copy(name: str) -> Path:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".cache", "__pycache__"))
        return tmp_path / name

    return copy
