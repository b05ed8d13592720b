"""A concept's part of a total: how exclusive it is, what it leaks, and that it must lie inside."""

import pytest
import scipy.linalg
import torch
from helpers import (
    EPS32,
    engram_by_hand,
    homogeneous,
    matrix_of,
    orthogonal,
    relative,
    structured,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from worlds import LAYER, World, nothing_cut, tolerance, worlds

import engram_core as ec
from engram_core.errors import ConceptOutsideTotalError


def spread(values: list[float], dtype: torch.dtype = torch.float64, extra: int = 4) -> Tensor:
    """Rows whose second moment has exactly these eigenvalues (and `extra` zeros)."""
    basis = orthogonal(len(values), len(values) + extra)
    return (torch.tensor(values, dtype=torch.float64).sqrt()[:, None] * basis).to(dtype)


def measured_errors(world: World, engram: Tensor, name: str) -> tuple[float, float]:
    rest = [other for other in world.concepts if other != name]
    leak = engram @ world.rows(*rest).mT
    residue = (world.matrix - engram) @ world.rows(name).mT
    return float(leak.square().sum()), float(residue.square().sum())


@given(worlds(precise=True, full=True))
def test_the_leak_certificate_is_the_measured_error(world: World) -> None:
    assume(nothing_cut(world))
    atlas = world.atlas()
    table = atlas.certificates().set_index("concept")
    for name in world.concepts:
        leak, residue, whole = atlas.trace(LAYER, name).leak(atlas.matrix(LAYER))
        measured = measured_errors(world, atlas[name].matrix(LAYER)[0].double(), name)
        scale = float((world.matrix @ world.rows(name).mT).square().sum())
        assert whole == pytest.approx(scale, rel=1e-6)
        assert leak == pytest.approx(measured[0], rel=1e-4, abs=1e-7 * scale)
        assert residue == pytest.approx(measured[1], rel=1e-4, abs=1e-7 * scale)
        assert table.error[name] == pytest.approx(sum(measured) / scale, rel=1e-4, abs=1e-6)
        assert -1e-6 <= table.error[name] <= 1 + 1e-6
        # Both errors are one matrix: E Σ_rest = W Q = (W − E) Σ_c.
        rest, own = world.rows(*(n for n in world.concepts if n != name)), world.rows(name)
        engram = atlas[name].matrix(LAYER)[0].double()
        one, two = engram @ rest.mT @ rest, (world.matrix - engram) @ own.mT @ own
        assert float((one - two).norm()) <= 1e-6 * float((world.matrix @ own.mT @ own).norm())


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_concepts_whose_rows_meet_only_in_zero_have_no_leak(form: str) -> None:
    one, two = structured(1, 3, 12), structured(2, 4, 12)  # generic: seven independent directions of twelve
    times = 1 if form == "dual" else 5
    layer = nn.Linear(12, 6, bias=False, dtype=torch.float64)
    concepts = {"a": one.repeat(times, 1), "b": two.repeat(times, 1)}
    atlas = ec.extract(layer, ec.record(layer, concepts), cut=1e-12)
    assert atlas.spectrum(LAYER).form == form
    assert atlas.certificates().error.abs().max() < 1e-8
    assert relative(layer(one), layer(one) * 0 + nn.functional.linear(one, atlas["a"].weight(LAYER))) < 1e-6
    view = atlas.apply(erase="a")
    assert view(one).abs().max() < 1e-6 and relative(view(two), layer(two)) < 1e-6


@given(worlds(precise=True))
def test_exclusivities_are_the_generalised_eigenvalues_of_concept_against_total(world: World) -> None:
    atlas, rows = world.atlas(), world.rows()
    values, vectors = torch.linalg.eigh(rows.mT @ rows)
    kept = vectors[:, values > len(values) * EPS32 * values[-1]]  # scipy needs a definite total
    for name in world.concepts:
        own = world.rows(name) @ kept
        total = rows @ kept
        expected = scipy.linalg.eigh((own.mT @ own).numpy(), (total.mT @ total).numpy(), eigvals_only=True)
        expected = torch.tensor(expected).flip(0)
        found = atlas.trace(LAYER, name).exclusivity[0]
        shared = min(len(found), len(expected))
        assert torch.allclose(found[:shared], expected[:shared], atol=1e-6)
        assert not (expected[shared:].abs() > 1e-6).any() and not (found[shared:].abs() > 1e-6).any()
        assert found.min() > -1e-6 and found.max() < 1 + 1e-6


def toy() -> tuple[nn.Linear, dict[str, Tensor], Tensor]:
    """A total that is weak where a stranger is strong."""
    total = torch.cat([spread([9.0, 4.0, 1.0, 1e-4]), spread([9.0, 4.0, 1.0, 1e-4])]).float()
    stranger = 2.0 * orthogonal(4, 8)[3:].float()
    return nn.Linear(8, 5, bias=False), {"a": total[:4], "b": total[4:]}, stranger


def test_a_target_outside_the_total_would_explode() -> None:
    layer, concepts, stranger = toy()
    everything = torch.cat(list(concepts.values()))
    exploded = engram_by_hand(matrix_of(layer), stranger, everything)
    assert float(exploded.norm() / matrix_of(layer).norm()) > 100
    harmless = engram_by_hand(matrix_of(layer), stranger, torch.cat([everything, stranger]))
    assert float(harmless.norm() / matrix_of(layer).norm()) <= 1


@pytest.mark.parametrize("outside", ["too strong", "elsewhere"])
def test_a_target_outside_the_total_is_refused(outside: str) -> None:
    layer, concepts, stranger = toy()
    if outside == "elsewhere":
        stranger = torch.linalg.qr(torch.cat(list(concepts.values())).mT, mode="complete")[0][
            :, 4:6
        ].mT.contiguous()
    total, target = ec.record(layer, concepts), ec.record(layer, {"stranger": stranger})
    said = {"too strong": "times as strong", "elsewhere": "of its energy lies in directions"}[outside]
    with pytest.raises(
        ConceptOutsideTotalError, match=f"'Linear'.*'stranger' is not part of the total.*{said}"
    ):
        ec.extract(layer, target, total=total)
    with pytest.raises(ConceptOutsideTotalError, match=said):
        ec.extract(layer, total).locate(target)


@given(worlds(), st.integers(0, 1000))
def test_any_part_of_the_total_may_be_a_target(world: World, seed: int) -> None:
    everything = torch.cat(list(world.concepts.values()))
    part = everything[torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))]
    part = part[: max(1, len(part) // 3)]
    located = world.atlas().locate(ec.record(world.layer, {"part": part}))
    expected = engram_by_hand(world.matrix, homogeneous(part, world.layer.bias is not None), world.rows())
    assert relative(located["part"].matrix(LAYER)[0], expected) < tolerance(world)


def test_a_part_of_a_trained_models_total_may_be_a_target(digits) -> None:
    recording = ec.record(digits.model, digits.concepts)
    atlas = ec.extract(digits.model, recording)
    some = torch.randperm(len(digits.inputs))[:150]
    subset = ec.record(digits.model, {"subset": digits.inputs[some], "3": digits.concepts["3"]})
    located, given = atlas.locate(subset), ec.extract(digits.model, subset, total=recording)
    with torch.no_grad():
        rows = [homogeneous(digits.model[:2](x), True) for x in (digits.inputs[some], digits.inputs)]
    expected = engram_by_hand(matrix_of(digits.model[2]), *rows)
    for found in (located, given):
        assert relative(found["subset"].matrix("2")[0], expected) < 1e-3
        assert relative(found["3"].matrix("2"), atlas["3"].matrix("2")) < 1e-3


def test_what_is_made_for_a_file_alone_is_not_kept() -> None:
    """Most concepts of a large atlas are never switched on: their products would fill the memory."""
    model = nn.Linear(40, 3)
    atlas = ec.extract(model, ec.record(model, {n: structured(i, 3, 40).float() for i, n in enumerate("ab")}))
    fresh, used = (atlas.trace(LAYER, name) for name in "ab")
    kept = used.duals, used.overlap
    for trace in (fresh, used):
        assert set(trace.state()) == {"rows", "duals", "overlap"}
    assert not vars(fresh).keys() & {"duals", "overlap"}
    assert used.duals is kept[0] and used.overlap is kept[1]
