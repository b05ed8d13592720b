"""`engram criteria` prints what the library measures, as tables or as one JSON object."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

import engram_core as ec
from engram_core import cli

DIGITS = [str(i) for i in range(10)]


@pytest.fixture(scope="module")
def digits_mlp() -> ec.Sample:
    return ec.load_sample("digits-mlp")


@pytest.fixture(scope="module")
def atlas(digits_mlp: ec.Sample) -> ec.Atlas:
    return ec.extract(digits_mlp.model, ec.record(digits_mlp.model, digits_mlp.concepts))


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, Any]:
    told = CliRunner().invoke(cli.app, ["criteria", "digits-mlp", "--controls", "2", "--seed", "4", "--json"])
    assert told.exit_code == 0
    return json.loads(told.stdout)


def test_criteria_prints_the_promised_object(printed: dict, digits_mlp: ec.Sample) -> None:
    for name in ("necessity", "sufficiency"):
        assert list(printed[name]["base"]) == DIGITS
        for kind in ("matrix", "control"):
            assert list(printed[name][kind]) == DIGITS
            assert all(list(row) == DIGITS for row in printed[name][kind].values())
    for name in ("specificity", "reactivation"):
        assert list(printed[name]["layers"]) == ["fc1", "fc2", "fc3"]
        assert list(printed[name]["layers"]["fc2"]["3"]) == DIGITS
    assert (printed["strength"], printed["scaling"], printed["seed"]) == (1.0, "plain", 4)
    assert printed["model_hash"] == ec.model_hash(digits_mlp.model) and printed["model"] == "digits-mlp"


def test_criteria_prints_what_the_library_measures(
    printed: dict, digits_mlp: ec.Sample, atlas: ec.Atlas
) -> None:
    found = ec.criteria(digits_mlp, atlas, controls=2, seed=4).to_dict()
    for name in ("necessity", "sufficiency"):
        for kind in ("base", "matrix", "control"):
            assert printed[name][kind] == found[name][kind]


def test_criteria_as_tables(engram) -> None:
    told = engram(
        "criteria", "digits-mlp", "--controls", "0", "--layers", "fc3", "--strength", "0.5",
        "--scaling", "adaptive", "--sharpness", "2", "--clip",
    ).out  # fmt: skip
    for word in ("Base model", "Necessity", "α = 0.5", "Sufficiency", "erased concept, mean score"):
        assert word in told
    assert "control" not in told


def run(*arguments: object) -> tuple[int, str, BaseException | None]:
    told = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    return told.exit_code, told.stdout, told.exception


def test_criteria_of_drawn_concepts_come_with_their_averages_and_layers() -> None:
    code, out, _ = run(
        "criteria", "digits-mlp", "--random", "4", "--seed", "3", "--controls", "0", "--by-layer",
        "--sizes", "1,2", "--layers", "group:fc3", "--power", "1.5", "--json",
    )  # fmt: skip
    assert code == 0
    told = json.loads(out)
    lost = told["necessity"]["matrix"]
    assert list(lost) == ec.draw_concepts([str(i) for i in range(10)], 4, seed=3)
    summary = told["summary"]
    assert summary["erased"] == pytest.approx(sum(lost[c][c] for c in lost) / 4)
    rest = [value for c in lost for probe, value in lost[c].items() if probe != c]
    assert summary["others"] == pytest.approx(sum(rest) / len(rest))
    assert told["edited_layers"] == ["fc3"] and told["sharpness"]["power"] == 1.5
    rows = told["sufficiency_by_layer"]
    assert {(row["layer"], row["null"], row["size"]) for row in rows} == {
        (layer, null, size)
        for layer in ("(all)", "fc3")
        for null in ("nothing", "in place")
        for size in (1, 2)
    }
