"""Sentences below figures, a few hundred of them, read back and held against the numbers they are about.

Nothing here repeats how a sentence is made: each is read by its words and numbers alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from app.figures.charts.control import Control
from app.figures.words.continuations import say_texts
from app.figures.words.criteria import say_cell, say_function, say_kept, say_response, say_shams
from app.figures.words.layers import say_effect, say_energy, say_leak
from app.figures.words.live import say_answer, say_scores
from app.figures.words.maps import say_cosines, say_moved
from app.figures.words.tokens import say_next
from app.figures.words.tour import say_control, say_language, say_necessity, say_neighbours
from app.figures.words.verdict import verdict

SEEDS = range(12)
NAMES = [f"concept {letter}" for letter in "ABCDEFGH"]
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w])")


def read(text: str) -> list[float]:
    """Return all numbers of a sentence, in order."""
    return [float(found) for found in _NUMBER.findall(text.replace("\\", "").replace("−", "-"))]


def agree(text: str, wanted: Sequence[float], digits: int = 1) -> None:
    np.testing.assert_allclose(read(text), wanted, atol=0.501 * 10**-digits, err_msg=text)


def draw(
    seed: int, count: int = len(NAMES)
) -> tuple[dict[str, float], dict[str, float], np.random.Generator]:
    noise = np.random.default_rng(seed)
    base = dict(zip(NAMES, noise.uniform(0.6, 1, count), strict=True))
    edited = {name: float(np.clip(value + noise.normal(0, 0.2), 0, 1)) for name, value in base.items()}
    return base, edited, noise


def mean(values: dict[str, float], names: Sequence[str]) -> float:
    return 100 * float(np.mean([values[name] for name in names]))


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_of_what_is_switched_off(seed):
    base, edited, noise = draw(seed)
    gone = NAMES[: 1 + seed % 3]
    rest = [name for name in NAMES if name not in gone]
    said = say_scores(NAMES, base, edited, gone, None)
    worst = min(rest, key=lambda name: edited[name] - base[name])
    if edited[worst] < base[worst] - 0.0005:
        assert worst in said
        agree(said.replace(worst, ""), [100 * (edited[worst] - base[worst])])
    else:
        assert said == "No other class loses accuracy." and all(edited[n] >= base[n] - 5e-4 for n in rest)
    runs = [{name: float(noise.uniform(0, 1)) for name in NAMES} for _ in range(3)]
    control = Control.of(NAMES, runs)
    assert control is not None
    beyond = re.search(r"loses (\S+) points with this edit and (\S+) with", say_scores(
        NAMES, base, edited, gone, control
    ))  # fmt: skip
    assert beyond
    sham = {name: float(np.mean([run[name] for run in runs])) for name in NAMES}
    for text, after in zip(beyond.groups(), (edited, sham), strict=True):
        lost = [mean(base, names) - mean(after, names) for names in (gone, rest)]
        agree(text, [lost[0] - lost[1]])


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_kept_is_no_loss_among_the_others(seed):
    base, edited, _ = draw(seed)
    kept = NAMES[:2]
    gone = NAMES[2:]
    said = say_scores(NAMES, base, edited, gone, None, kept=kept)
    assert "others" not in said and not any(name in said for name in NAMES)
    agree(said, [mean(base, kept), mean(edited, kept), mean(base, gone), mean(edited, gone)])


@pytest.mark.parametrize("seed", SEEDS)
def test_one_image(seed):
    noise = np.random.default_rng(seed)
    base, edited = noise.dirichlet(np.ones(len(NAMES)), 2)
    truth = NAMES[seed % len(NAMES)]
    said = say_answer(NAMES, base, edited, truth)
    first, second = NAMES[base.argmax()], NAMES[edited.argmax()]
    wanted = f"stays {first}." if first == second else f"changes from {first} to {second}."
    assert wanted in said
    at = NAMES.index(truth)
    shares = said.partition("Probability of the true class ")[2].replace(truth, "")
    if min(base[at], edited[at]) > 0.001:
        agree(shares, [100 * base[at], 100 * edited[at]])


@pytest.mark.parametrize("seed", range(40))
def test_two_continuations(seed):
    chance = random.Random(seed)
    words = ["Rome", "Oslo", "is", "a", "baker", "baker's"]
    signs = ["", "", ".", ",", "....", ".s"]
    base, edited = (
        " ".join(chance.choice(words) + chance.choice(signs) for _ in range(chance.randint(0, 4)))
        for _ in range(2)
    )
    said = say_texts(base, edited)
    before, after = (re.findall(r"\w+(?:'\w+)*", text) for text in (base, edited))
    common = {word.casefold() for word in before} & {word.casefold() for word in after}
    if "no word in common" in said:
        assert before and after and not common
    elif "same words" in said:
        assert before == after
    elif "part at word" in said:
        place, different, total = read(said)
        assert common and total == len(after) and 0 < different <= total
        assert before[: int(place) - 1] == after[: int(place) - 1]
        assert before[int(place) - 1 : int(place)] != after[int(place) - 1 : int(place)]
    elif "leaves out" in said:
        assert read(said) == [len(before) - len(after), len(before)]
    else:
        assert ("adds no word" in said or "adds a word" in said) and (not before or not after)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_became_of_the_right_answer(seed):
    noise = np.random.default_rng(seed)
    before, after = noise.uniform(0, 1, 2)
    assert verdict(before, after, right_before=True, right_after=False) == "forgotten"
    assert (
        verdict(before, before * noise.uniform(0, 0.49), right_before=True, right_after=True) == "forgotten"
    )
    assert verdict(before, before * noise.uniform(0.51, 1), right_before=True, right_after=True) == "known"
    assert verdict(before, after, right_before=False, right_after=False) == "not known"


def matrix(seed: int) -> pd.DataFrame:
    noise = np.random.default_rng(seed)
    return pd.DataFrame(
        [
            {"concept": c, "probe": p, "score": s, "base": b, "delta": s - b, "value": v, "says": np.nan,
             "selective": noise.uniform(0, 1)}
            for c in NAMES for p in NAMES
            for s, b, v in [noise.uniform(0, 1, 3)]
        ]
    )  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_matrices(seed):
    table = matrix(seed)
    own, other = table[table.concept == table.probe], table[table.concept != table.probe]
    said = say_function(table, "Necessity", "from nothing")
    worst = other.loc[other.delta.idxmin()]
    assert f"“{worst.probe}” by" in said and f"“{worst.concept}” erased" in said
    agree(said, 100 * np.array([own.score.mean(), own.base.mean(), other.score.mean(), other.base.mean(),
                                worst.delta]))  # fmt: skip
    said = say_function(table, "Sufficiency", "in place")
    agree(said, 100 * np.array([own.score.mean(), own.base.mean(), other.score.mean()]))
    assert ("does not hold" in said) == (own.score.mean() < 0.5 * own.base.mean())
    said = say_response(table, "Size", "fc")
    best = other.loc[other.value.idxmax()]
    assert f"engram of “{best.concept}” on “{best.probe}”" in said
    agree(said, [own.value.mean(), len(own), other.value.mean(), best.value], digits=2)
    before, after = table.loc[1, ["base", "score"]]
    agree(say_cell("x", "y", "erased", before, after), 100 * np.array([before, after, after - before]))


@pytest.mark.parametrize("seed", SEEDS)
def test_effects_against_their_controls(seed):
    noise = np.random.default_rng(seed)
    effect = noise.uniform(0.2, 1, 6).tolist()
    gaussian, subset = noise.uniform(-0.2, 0.6, (2, 6, 3)).tolist()
    above = sum(e > max(*g, *s) for e, g, s in zip(effect, gaussian, subset, strict=True))
    agree(
        say_shams(effect, gaussian, subset),
        [6, 100 * np.mean(effect), 100 * np.mean(gaussian), 100 * np.mean(subset), above, 6],
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_layers(seed):
    noise = np.random.default_rng(seed)
    layers = ["one", "two", "three"]
    table = pd.DataFrame(
        [
            {"layer": layer, "concept": name, "relative": r, "rank": 5,
             "leak": a, "residue": b, "error": a + b}
            for layer in layers for name in NAMES
            for r, a, b in [noise.uniform(0.1, 0.5, 3)]
        ]
    )  # fmt: skip
    said = say_energy(table)
    means, top = table.groupby("layer")["relative"].mean(), table.loc[table.relative.idxmax()]
    assert f"largest in {means.idxmax()}" in said and f"smallest in {means.idxmin()}" in said
    assert f"“{top.concept}” in {top.layer}" in said
    agree(said, [8, means.max(), means.min(), top.relative, 5], digits=2)
    said = say_leak(table)
    errors = table.groupby("layer")["error"].mean()
    assert f"cleanest in {errors.idxmin()}" in said and f"least clean in {errors.idxmax()}" in said
    agree(said, [8, *(100 * np.array([errors.min(), errors.max(), table.leak.mean(), table.residue.mean()]))],
          digits=0)  # fmt: skip
    mine, others = ({side: noise.uniform(0, 1, 3) for side in ("base", "score")} for _ in range(2))
    said = say_effect(["all", "x", "y"], mine, others)
    change = [side["base"] - side["score"] for side in (mine, others)]
    best = 1 + int(np.argmax((change[0] - change[1])[1:]))
    weak = 1 + int(np.argmin(change[0][1:]))
    wanted = [mine["base"][0], mine["score"][0], others["base"][0], others["score"][0]]
    wanted += [mine["score"][best], others["score"][best], mine["score"][weak]]
    agree(said, 100 * np.array(wanted))


@pytest.mark.parametrize("seed", SEEDS)
def test_maps(seed):
    noise = np.random.default_rng(seed)
    vectors = noise.normal(size=(5, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    said = say_cosines(NAMES[:5], cosines)
    off = np.where(np.eye(5, dtype=bool), -np.inf, cosines)
    a, b = divmod(int(off.argmax()), 5)
    assert {NAMES[a], NAMES[b]} == set(re.findall(r"concept \w", said))
    agree(said, [cosines[a, b], np.median(cosines[~np.eye(5, dtype=bool)])], digits=2)
    concept = [NAMES[i % 4] for i in range(20)]
    moved = noise.uniform(0, 1, 20)
    before, after = noise.choice(["x", "y"], (2, 20))
    said = say_moved(concept, moved, 0.5, 0, before, after)
    means = {name: moved[[c == name for c in concept]].mean() for name in set(concept)}
    first = max(means, key=lambda name: means[name])
    assert f"inputs of {first} most" in said
    rest = np.mean([value for name, value in means.items() if name != first])
    numbers = read(said)
    np.testing.assert_allclose(numbers[:2], [means[first], rest], atol=0.0051)
    assert numbers[2:4] == [(before != after).sum(), 20]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_next_token(seed):
    noise = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"token": NAMES, "before": noise.dirichlet(np.ones(8)), "after": noise.dirichlet(np.ones(8))}
    )
    table["rank_before"] = table.before.rank(ascending=False).astype(int)
    table["rank_after"] = table.after.rank(ascending=False).astype(int)
    said = say_next(table)
    old, new = table.loc[table.before.idxmax()], table.loc[table.after.idxmax()]
    assert (f"stays “{old.token}”" in said) == (old.token == new.token)
    agree(said.partition(". ")[2], [100 * old.before, 100 * old.after, old.rank_after])


@pytest.mark.parametrize("seed", SEEDS)
def test_layers_that_keep_alone(seed):
    noise = np.random.default_rng(seed)
    table = pd.DataFrame(
        [
            {"layer": layer, "null": null, "kept": k, "others": o, "selective": k - o, "base": 0.95}
            for null in ("nothing", "in place") for layer in ("all", "x", "y")
            for k, o in [noise.uniform(0, 1, 2)]
        ]
    )  # fmt: skip
    wanted = []
    for null in ("nothing", "in place"):
        rows = table[table.null == null].set_index("layer")
        best = rows.drop("all").selective.idxmax()
        wanted += [rows.kept["all"], rows.others["all"], rows.kept[best], rows.others[best]]
    agree(say_kept(table, "all"), 100 * np.array([*wanted, 0.95]))


def experiment(**edits: dict[str, float]) -> pd.DataFrame:
    """Make the table of an experiment of the tour, its edits by name with underscores for spaces."""
    rows = [
        ("m", edit.replace("_", " "), "score", name, value)
        for edit, scores in edits.items()
        for name, value in scores.items()
    ]
    return pd.DataFrame(rows, columns=["model", "edit", "measure", "of", "value"])


@pytest.mark.parametrize("seed", SEEDS)
def test_findings_of_the_tour(seed):
    base, edited, noise = draw(seed)
    first, *others = NAMES
    change = {name: edited[name] - base[name] for name in others}
    worst = min(change, key=change.get)  # type: ignore[arg-type]
    called = {name: float(noise.uniform(0, 1)) for name in NAMES}
    most = max(called, key=called.get)  # type: ignore[arg-type]
    table = experiment(base=base, **{f"{first} erased": edited})
    answers = pd.DataFrame(
        [("m", f"{first} erased", f"answers to {first}", name, value) for name, value in called.items()],
        columns=table.columns,
    )
    said = say_necessity(pd.concat([table, answers])).replace("\\", "")
    agree(said, [mean(base, [first]), mean(edited, [first]), 7, mean(base, others), mean(edited, others),
                 100 * base[worst], 100 * edited[worst], round(100 * called[most])])  # fmt: skip
    assert f"by {worst} (" in said and f"now called {most} most often" in said
    sham = {name: float(noise.uniform(0, 1)) for name in NAMES}
    runs = {f"random change of the size of {first}: {name}": sham for name in ("mean", "least", "most")}
    low, high = min(others, key=lambda n: sham[n]), max(others, key=lambda n: sham[n])
    said = say_control(experiment(base=base, **{f"{first} erased": edited}, **runs)).replace("\\", "")
    assert f"({low})" in said and f"({high})" in said
    agree(said, [mean(base, [first]), mean(sham, [first]), mean(base, others), mean(sham, others),
                 100 * sham[low], 100 * sham[high], mean(edited, others)])  # fmt: skip
    said = say_neighbours(table).replace("\\", "").replace("−", "-")
    for name, points in re.findall(r"(concept \w) \((\S+) points\)", said):
        assert name in others and abs(100 * change[name] - float(points)) < 0.051
        lose = said.index(name) < said.index(" lose") if " lose" in said else False
        assert lose == (float(points) < 0)
    alone = {name: float(noise.uniform(0, 1)) for name in NAMES}
    both = experiment(base=base, **{f"{first} erased": edited, f"{first} alone": alone})
    wanted = [mean(alone, [first]), mean(edited, [first]), mean(edited, others)]
    agree(say_language(both), [*map(round, wanted), 7])
