"""Engrams of a fine-tune, ``ΔW`` in the place of ``W``: against dense matrices in float64, and in files."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import engram_by_hand, homogeneous, matrix_of, relative, structured
from torch import Tensor, nn

import engram_core as ec
from engram_core.measuring.shams import gaussian_view


def models() -> tuple[nn.Module, nn.Module]:
    """Return a base and a fine-tune that changed all layers but the last."""
    torch.manual_seed(0)
    before = nn.Sequential(
        nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4)
    ).double()
    after = copy.deepcopy(before)
    with torch.no_grad():
        for place in (0, 2):
            for parameter in after[place].parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    return before, after


DATA = structured(3, 90, 20)
PARTS = {"a": DATA[:30], "b": DATA[30:60], "c": DATA[60:]}


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, nn.Module, ec.Atlas]:
    before, after = models()
    return before, after, ec.extract(after, ec.record(after, PARTS), base=before)


def projection(after: nn.Module, layer: str, name: str) -> Tensor:
    """Return ``P_c = Σ_c Σ†`` in float64, by the definition."""
    place = int(layer)
    rows = {n: homogeneous(after[:place](x).detach(), bias=True) for n, x in PARTS.items()}
    return engram_by_hand(
        torch.eye(rows["a"].shape[1], dtype=torch.float64), rows[name], torch.cat([*rows.values()])
    )


def test_the_engrams_are_parts_of_what_was_written_in_the_layers_that_it_changed(case) -> None:
    before, after, atlas = case
    assert atlas.layers == ["0", "2"]
    for layer in atlas.layers:
        written = matrix_of(after[int(layer)]) - matrix_of(before[int(layer)])
        for name in PARTS:
            expected = written @ projection(after, layer, name)
            assert relative(atlas[name].matrix(layer)[0], expected) < 1e-6, (layer, name)


@pytest.mark.parametrize("form", ["view", "baked"])
@pytest.mark.parametrize("null", ["base", "nothing"])
def test_keeping_starts_from_the_base_and_erasing_from_the_fine_tune(case, form, null) -> None:
    before, after, atlas = case
    x = torch.randn(5, 20, dtype=torch.float64)
    for options, start, sign in (
        ({"keep": {"a": 2.0}, "null": null}, before, 1),
        ({"erase": {"a": 2.0}}, after, -1),
    ):
        by_hand = copy.deepcopy(after)
        with torch.no_grad():
            for layer in atlas.layers:
                place = int(layer)
                written = matrix_of(after[place]) - matrix_of(before[place])
                edited = matrix_of(start[place]) + sign * 2.0 * written @ projection(after, layer, "a")
                by_hand[place].weight.copy_(edited[:, :-1])
                by_hand[place].bias.copy_(edited[:, -1])
        view = atlas.apply(**options)
        made = view if form == "view" else ec.bake(view)
        assert relative(made(x), by_hand(x)) < 1e-6
        report = ec.live_edit(view).report()
        changed = [
            float((matrix_of(by_hand[int(n)]) - matrix_of(after[int(n)])).norm()) for n in atlas.layers
        ]
        whole = [float(matrix_of(after[int(n)]).norm()) for n in atlas.layers]
        assert [report.per_layer[n] for n in atlas.layers] == pytest.approx(
            [c / w for c, w in zip(changed, whole, strict=True)], rel=1e-5
        )
        ec.live_edit(view).off()
        assert torch.equal(view(x), after(x))


def test_keeping_every_concept_gives_back_the_fine_tune_on_what_was_recorded(case) -> None:
    _, after, atlas = case
    view = atlas.apply(keep=list(PARTS), null="base")
    assert relative(view(DATA), after(DATA)) < 1e-3  # the cut leaves out directions of next to no rows


def test_amplified_filters_multiply_or_cap(case) -> None:
    _, _, atlas = case
    mu = torch.tensor([0.05, 0.2, 0.9], dtype=torch.float64)
    capped = ec.Sharpness(1.0, True, 4.0)
    assert relative(capped.weights(mu, 1.0) * mu, (4 * mu).clamp(max=1)) < 1e-12
    assert relative(ec.Sharpness(2.0, gain=3.0).weights(mu, 2.0) * mu, 6 * mu**2) < 1e-12
    for layer in atlas.layers:  # a gain is a strength that is kept with the filter
        three = atlas.sharpen(1.0, gain=3.0)["a"].matrix(layer)
        assert relative(three, 3 * atlas["a"].matrix(layer)) < 1e-6
    with pytest.raises(ec.DataError, match="gain of a filter must be a finite number above 0; found 0"):
        ec.Sharpness(gain=0.0)


def test_a_random_edit_starts_where_the_edit_does(case) -> None:
    before, after, atlas = case
    from engram_core.editing.edit import Edit

    for options, start in (({"keep": "a", "null": "base"}, before), ({"erase": "a"}, after)):
        edit = Edit.of(atlas, **options)
        sham = gaussian_view(atlas, edit, 0)
        for layer in atlas.layers:
            noise = float((matrix_of(sham[int(layer)]) - matrix_of(start[int(layer)])).norm())
            assert noise == pytest.approx(atlas["a"].norm(layer), rel=1e-5)


def test_a_file_of_them_is_read_with_its_base_alone(case, tmp_path) -> None:
    before, after, atlas = case
    path = tmp_path / "fine-tune.safetensors"
    sharp = atlas.sharpen(1.5, clip=True, gain=4.0)
    sharp.save(path)
    again = ec.Atlas.load(path, after, base=before)
    assert again.sharpness == sharp.sharpness
    for layer in atlas.layers:
        assert relative(again["b"].matrix(layer), sharp["b"].matrix(layer)) < 1e-6
    with pytest.raises(ec.ModelMismatchError, match="holds engrams of a fine-tune. Give the model"):
        ec.Atlas.load(path, after)
    with pytest.raises(ec.ModelMismatchError, match="cannot be used with this base"):
        ec.Atlas.load(path, after, base=models()[1])
    plain = tmp_path / "whole.safetensors"
    ec.extract(after, ec.record(after, PARTS)).save(plain)
    with pytest.raises(ec.ModelMismatchError, match="no base belongs to it"):
        ec.Atlas.load(plain, after, base=before)


def test_what_cannot_be_meant_is_refused(case) -> None:
    before, after, atlas = case
    recording = ec.record(after, PARTS)
    with pytest.raises(ec.CoverageError, match="changed none of the chosen layers .* It changed: 0, 2"):
        ec.extract(after, recording, base=before, layers=["4"])
    whole = ec.extract(after, recording)
    with pytest.raises(ec.DataError, match="null='base' starts from a pretrained model"):
        whole.apply(keep="a", null="base")
    with pytest.raises(ec.ModelMismatchError, match="another model"):
        ec.extract(before, recording, base=after)
