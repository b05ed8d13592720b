"""`engram sweep`, criteria over drawn concepts, and how the command line finds a model."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import engram_core as ec
from engram_core import cli
from engram_core.tuning.sweep import SETTING

_SMALL = ["--strengths", "0.4,1", "--sharpness", "1,1.5cap", "--groups", "all,fc3", "--random", "3"]


def run(*arguments: object) -> tuple[int, str, BaseException | None]:
    told = CliRunner().invoke(cli.app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    return told.exit_code, told.stdout, told.exception


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("sweep")
    code, out, _ = run(
        "sweep", "digits-mlp", *_SMALL, "--left", "0.4", "--confirm", "4", "--json",
        "--csv", folder / "table.csv", "--html", folder / "figure.html",
    )  # fmt: skip
    assert code == 0
    return json.loads(out), folder


def test_sweep_prints_what_the_library_measures(written: tuple[dict, Path]) -> None:
    told, _ = written
    sample = ec.load_sample("digits-mlp")
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    names = ec.draw_concepts(sample.concepts, 3, seed=0)
    table = ec.sweep(
        sample, atlas, concepts=names, strengths=(0.4, 1), groups=["all", "fc3"],
        sharpness=(ec.Sharpness(), ec.Sharpness(1.5, True)),
    )  # fmt: skip
    assert told["concepts"] == names and told["unit"] == "accuracy"
    printed = pd.DataFrame(told["settings"])
    pd.testing.assert_frame_equal(printed, table, check_dtype=False, check_like=True)
    assert told["frontier"] == ec.frontier(table).to_dict("records")
    found = ec.recommend(table, forget_at_most=0.4)
    assert told["recommendation"]["setting"] == found.setting
    assert told["recommendation"]["sentence"] == found.sentence
    held = told["confirmed"]
    others = [row["concept"] for row in held["each"]]
    assert held["count"] == 4 and not set(others) & set(names)
    direct = ec.confirm(sample, atlas, found.setting, concepts=others, found_on=names)
    assert held["mean"]["forget"] == pytest.approx(direct["forget"].mean())
    assert held["mean"]["worst_damage"] == pytest.approx(direct["damage"].max())


def test_sweep_writes_the_table_and_a_figure_that_works_offline(written: tuple[dict, Path]) -> None:
    told, folder = written
    table = pd.read_csv(folder / "table.csv")
    assert list(table[list(SETTING)].itertuples(index=False, name=None)) == [
        tuple(row[name] for name in SETTING) for row in told["settings"]
    ]
    page = (folder / "figure.html").read_text()
    assert len(page) > 1_000_000 and "Recommended" in page and "Frontier" in page
    assert not re.search(r"<script[^>]+src=", page)


def test_the_figure_draws_every_setting_and_rings_the_recommended_one(written: tuple[dict, Path]) -> None:
    from app.figures.charts.frontier import frontier_figure

    told, _ = written
    table, best = pd.DataFrame(told["settings"]), pd.DataFrame(told["frontier"])
    setting = told["recommendation"]["setting"]
    figure = frontier_figure(table, best, chosen=setting, title="<b>x</b>").to_dict()
    drawn = {trace["name"]: trace for trace in figure["data"]}
    series = [trace for name, trace in drawn.items() if name.startswith(("all", "fc3"))]
    assert sum(len(trace["x"]) for trace in series) == len(table)
    assert drawn["Frontier"]["y"] == pytest.approx(100 * best.sort_values("damage")["lost"])
    assert drawn["Recommended"]["y"] == [100 * told["recommendation"]["figures"]["lost"]]
    assert "<b>" not in figure["layout"]["title"]["text"]


def test_sweep_as_tables() -> None:
    code, out, _ = run("sweep", "digits-mlp", *_SMALL, "--left", "0.4", "--confirm", "3")
    assert code == 0
    for words in (
        "Frontier of 8 settings on digits-mlp, 3 concepts",
        "Use strength",
        "Confirmed on 3 others",
    ):
        assert words in out


def test_sets_erased_together_are_confirmed_in_sets_of_that_size() -> None:
    code, out, _ = run(
        "sweep", "digits-mlp", "--together", "--random", "2", "--sets", "2", "--strengths", "1",
        "--sharpness", "1", "--groups", "all", "--damage", "1", "--confirm", "4", "--json",
    )  # fmt: skip
    told = json.loads(out)
    assert code == 0 and [len(target) for target in told["targets"]] == [2, 2]
    assert told["confirmed"]["count"] == 2
    kept = {name for row in told["confirmed"]["each"] for name in row["concept"].split(", ")}
    assert len(kept) == 4 and not kept & set(told["concepts"])


def test_without_a_bound_nothing_is_recommended() -> None:
    code, out, _ = run(
        "sweep", "digits-mlp", "--concepts", "7", "--strengths", "1", "--groups", "all", "--json"
    )
    assert code == 0 and json.loads(out)["recommendation"] is None


def test_forget_is_the_rule_of_the_page_what_the_erased_lose_at_least(written: tuple[dict, Path]) -> None:
    code, out, _ = run("sweep", "digits-mlp", *_SMALL, "--forget", "0.3", "--json")
    told = json.loads(out)
    table = pd.DataFrame(written[0]["settings"])
    assert code == 0
    assert told["recommendation"]["setting"] == ec.recommend(table, lost_at_least=0.3).setting


def test_a_bound_that_nothing_keeps_names_the_nearest_and_fails() -> None:
    code, out, error = run(
        "sweep",
        "digits-mlp",
        "--concepts",
        "7",
        "--strengths",
        "0.1",
        "--groups",
        "all",
        "--left",
        "0",
        "--json",
    )
    told = json.loads(out)
    assert code != 0 and "The nearest: strength 0.1" in str(error) and told["problem"] == str(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strengths", "1,much"], "--strengths takes numbers"),
        (["--strengths", "0"], "must be a number above 0"),
        (["--selectivity", "sharp"], "--selectivity takes exponents"),
        (["--sharpness", "0"], "power must be above 0"),
        (["--groups", "attention"], "Unknown group of layers 'attention'"),
        (["--confirm", "3"], "--confirm measures a recommended setting"),
        (["--concepts", "7", "--random", "2"], "not both"),
        (["--random", "11"], "Cannot draw 11 concepts: there are 10"),
        (["--sets", "2"], "--sets goes with --together"),
        (["--concepts", "77"], "Unknown concept '77'"),
    ],
    ids=" ".join,
)
def test_bad_options_of_sweep(arguments: list[str], message: str) -> None:
    code, out, error = run("sweep", "digits-mlp", *arguments, "--json")
    assert code != 0 and not out and message in str(error)


# -- criteria ----------------------------------------------------------------------------------------


# -- how a model is found ----------------------------------------------------------------------------
