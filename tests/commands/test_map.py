"""`engram map` gives what the library gives."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import engram_core as ec
from engram_core.cli import app
from engram_core.mapping.projection import joint_projection


@pytest.fixture(scope="module")
def sample():
    return ec.load_sample("digits-mlp")


@pytest.fixture(scope="module")
def atlas(sample):
    return ec.extract(sample.model, ec.record(sample.model, sample.concepts))


def test_the_command_gives_what_the_api_gives(sample, atlas, tmp_path):
    path = tmp_path / "points.csv"
    run = CliRunner().invoke(
        app, ["map", "digits-mlp", "--erase", "7", "--per-concept", "5", "--json", "--csv", str(path)]
    )
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    inputs = ec.draw_inputs(sample, per_concept=5)
    before, after = (
        ec.trace_strengths(m, atlas, inputs).matrix for m in (sample.model, atlas.apply(erase={"7": 1.0}))
    )
    expected = joint_projection(before, after)
    points = np.array([[p["x"], p["y"], p["edited_x"], p["edited_y"]] for p in told["points"]])
    np.testing.assert_allclose(points, np.hstack([expected.base.coordinates, expected.edited]), atol=1e-5)
    assert len(path.read_text().splitlines()) == 51
    engrams = CliRunner().invoke(app, ["map", "digits-mlp", "--of", "engrams", "--json"])
    assert [p["concept"] for p in json.loads(engrams.stdout)["points"]] == list(sample.concepts)


@pytest.mark.parametrize(
    ("options", "title", "words"),
    [
        (["--of", "engrams"], "digits-mlp: engrams by cosine (PCA)", "Each of the 10 points is one concept"),
        (
            ["--erase", "7", "--concepts", "7,1", "--per-concept", "5"],
            "digits-mlp: inputs by trace strengths (PCA)",
            "Each of the 10 points is one input",
        ),
    ],
)
def test_the_page_has_a_title_and_an_explanation(tmp_path, options, title, words):
    path = tmp_path / "map.html"
    told = CliRunner().invoke(app, ["map", "digits-mlp", *options, "--html", str(path)])
    assert told.exit_code == 0, told.output
    page = path.read_text(encoding="utf-8")
    assert f"<title>{title}</title>" in page and f"<h1>{title}</h1>" in page
    said = " ".join(re.findall("<p>(.*?)</p>", page))
    assert words in said and "% of the variance" in said
    assert ("the model without 7 (strength 1)" in said) == ("--erase" in options)
