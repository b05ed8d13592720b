"""Atlases that were saved and read again, held against those they were."""

import pandas as pd
import torch
from helpers import Case
from torch import Tensor

import engram_core as ec


def few(case: Case, count: int | None) -> dict[str, Tensor]:
    return {name: x[:count] for name, x in case.concepts.items()}


def assert_same_atlas(one: ec.Atlas, two: ec.Atlas) -> None:
    assert (one.concepts, one.layers, one.sharpness) == (two.concepts, two.layers, two.sharpness)
    assert one.coverage == two.coverage and one.identity.digest == two.identity.digest
    for layer in one.layers:
        assert one.spectrum(layer).form == two.spectrum(layer).form
        assert torch.equal(one.spectrum(layer).eigenvalues, two.spectrum(layer).eigenvalues)
        for concept in one.concepts:
            assert torch.equal(one[concept].matrix(layer), two[concept].matrix(layer)), (layer, concept)
    for table in ("energy", "certificates", "exclusivity", "spectra"):
        # Copies lie elsewhere in memory, where products of matrices may round another way.
        pd.testing.assert_frame_equal(getattr(one, table)(), getattr(two, table)(), rtol=1e-5, atol=1e-9)
