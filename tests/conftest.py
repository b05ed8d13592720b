"""Settings and trained models that all tests share."""

import os
import shutil
import tempfile

import pytest
import torch
from helpers import Case, train_attention, train_cnn, train_mlp
from hypothesis import HealthCheck, settings

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
