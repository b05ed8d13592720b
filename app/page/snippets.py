"""Python that reproduces what a page shows, by the core's own names.

Every snippet ends with the assignment of a table that holds the columns beside the figure; the tests run each
one and compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..choice.choice import Choice
from ..choice.picture import LEVELS, Picture
from ..choice.search import Plan, Rule

if TYPE_CHECKING:
    from engram_core.tuning.recommend import Recommendation

__all__ = [
    "answer_code",
    "answers_code",
    "continuations_code",
    "edit_code",
    "inputs_code",
    "model_code",
    "plain_atlas",
    "scores_code",
    "shams_code",
    "subset_code",
    "sweep_code",
]


def _sharpened(choice: Choice) -> bool:
    return choice.power != 1 or choice.clip


def plain_atlas(choice: Choice) -> str:
    """Return the name that a snippet gives to the engrams as published, whatever the sharpness chosen."""
    return "plain" if _sharpened(choice) else "atlas"


def model_code(load: str, choice: Choice) -> str:
    """Return the lines that load a model and solve for its engrams.

    Args:
        load: the line that makes `sample`.
        choice: its sharpness counts.
    """
    lines = [
        "import engram_core as ec",
        "",
        load,
        "recording = ec.record(sample.model, sample.concepts)",
        f"{plain_atlas(choice)} = ec.extract(sample.model, recording)",
    ]
    if _sharpened(choice):
        lines.append(f"atlas = plain.sharpen({choice.power:g}{', clip=True' if choice.clip else ''})")
    return "\n".join(lines)


def subset_code(names: Sequence[str], classes: Sequence[str]) -> str:
    """Return the line that makes `some`: the sample, or only some of its concepts."""
    if len(names) == len(classes):
        return "some = sample"
    return f"some = ec.Subject(sample.model, sample.concepts.subset({list(names)!r}), sample.task)"


def shams_code(names: Sequence[str], seeds: int) -> str:
    """Return the lines that make `shams`: engrams of random inputs, as many as each concept has.

    Drawn from all concepts together: left to themselves, the criteria draw from those that are probed.
    """
    return (
        f"sizes = {{name: atlas.counts[name] for name in {list(names)!r}}}\n"
        "drawn = {\n"
        f"    size: ec.subset_atlas(atlas, sample.concepts, size=size, seeds=range({seeds}))\n"
        "    for size in set(sizes.values())\n"
        "}\n"
        "shams = {name: drawn[size] for name, size in sizes.items()}"
    )


def edit_code(load: str, choice: Choice, classes: Sequence[str]) -> str:
    """Return the lines that make `edited`, the edited view of a choice."""
    code = model_code(load, choice)
    if not choice.changes:
        return f"{code}\nedited = sample.model  # nothing is erased"
    layers = "" if choice.everywhere else f", layers={list(choice.layers)!r}"
    if choice.from_nothing:
        return f"{code}\nedited = atlas.apply(sample.model, keep={choice.strengths!r}{layers})"
    scaling = "" if choice.scaling == "plain" else f", scaling={choice.scaling!r}"
    if choice.keeps:
        strengths = dict.fromkeys((name for name in classes if name not in choice.concepts), choice.strength)
    else:
        strengths = choice.strengths
    return f"{code}\nedited = atlas.apply(sample.model, erase={strengths!r}{layers}{scaling})"


def answer_code(
    picture: Picture, value_range: tuple[float, float] | None, read: Sequence[float] | None = None
) -> str:
    """Return the lines that ask both models about an input of a classifier.

    Args:
        picture: a held-out input, or what the visitor made.
        value_range: what black and white are to the model; None for 0 and 1.
        read: of a row of a table that the visitor made, what the model reads.
    """
    lines = ["import pandas as pd"]
    if read is not None:
        lines += [
            "import torch",
            "",
            f"image = torch.tensor([{[float(f'{value:.7g}') for value in read]!r}])",
        ]
    elif picture.drawn:
        low, high = value_range or (0.0, 1.0)
        scaled = "" if (low, high) == (0.0, 1.0) else f" * {high - low!r} + {low!r}"
        lines += [
            "import torch",
            "",
            f"# a drawing of 8 x 8 pixels: a letter each, {LEVELS[0]} to {LEVELS[-1]} for 0 to "
            f"{len(LEVELS) - 1} sixteenths of ink",
            f"drawn = {picture.drawn!r}",
            f"ink = torch.tensor([{LEVELS!r}.index(letter) for letter in drawn]) / {len(LEVELS) - 1}",
            f"image = ink.reshape(1, 1, 8, 8){scaled}",
        ]
    else:
        number = picture.number
        lines += ["", f"image = sample.concepts[{picture.concept!r}].probe[{number - 1}:{number}]"]
    return "\n".join(
        [
            *lines,
            "before, after = (sample.task.probabilities(m, image)[0] for m in (sample.model, edited))",
            "table = pd.DataFrame(",
            '    {"class": sample.task.classes, "base probability": before, "edited probability": after}',
            ")",
        ]
    )


def scores_code(choice: Choice, seeds: int, concepts: Sequence[str] | None = None) -> str:
    """Return the lines that score concepts before and after, and under random edits of the same size.

    Args:
        choice: the edit.
        seeds: random edits; 0 for no control.
        concepts: those that are scored; default all.
    """
    named = "" if concepts is None else ", names"
    lines = [
        "import pandas as pd",
        "",
        *([] if concepts is None else [f"names = {list(concepts)!r}"]),
        "before, after = (",
        f"    sample.task.measure(m, sample.concepts{named}).score for m in (sample.model, edited)",
        ")",
        'table = pd.DataFrame({"base": before, "edited": after})',
        'table["difference"] = table["edited"] - table["base"]',
    ]
    if seeds and choice.changes:
        lines += [
            "edit = ec.live_edit(edited).edit",
            f"shams = [ec.gaussian_view(atlas, edit, seed) for seed in range({seeds})]",
            f"control = pd.DataFrame([sample.task.measure(m, sample.concepts{named}).score for m in shams])",
            'table["control mean"] = control.mean()',
            'table["control low"], table["control high"] = control.min(), control.max()',
        ]
    return "\n".join([*lines, 'table = table.rename_axis("concept").reset_index()'])


def continuations_code(prompt: str, *, max_new_tokens: int, temperature: float, seed: int, chat: bool) -> str:
    """Return the lines that continue a prompt with both models."""
    options = f"max_new_tokens={max_new_tokens}, temperature={temperature:g}, seed={seed}, chat={chat}"
    return "\n".join(
        [
            "import pandas as pd",
            "from engram_core.language import generate",
            "",
            f"prompt = {prompt!r}",
            "texts = {",
            f'    kind: "".join(t.text for t in generate(m, sample.task.tokenizer, prompt, {options}))',
            '    for kind, m in {"base": sample.model, "edited": edited}.items()',
            "}",
            'table = pd.DataFrame({"model": texts.keys(), "prompt": prompt, "continuation": texts.values()})',
        ]
    )


def inputs_code(concept: str, one: str = "image") -> str:
    """Return the lines that ask both models about every held-out input of a class.

    Args:
        concept: the class.
        one: what an input is called.
    """
    return "\n".join(
        [
            "import numpy as np",
            "import pandas as pd",
            "",
            f"inputs, classes = sample.concepts[{concept!r}].probe, np.array(sample.task.classes)",
            "before, after = (",
            "    classes[sample.task.logits(m, inputs).argmax(-1)] for m in (sample.model, edited)",
            ")",
            "table = pd.DataFrame(",
            f'    {{"{one}": range(1, len(inputs) + 1), "truth": {concept!r},',
            '     "base": before, "edited": after}',
            ")",
        ]
    )


def answers_code(concept: str, *, most: int) -> str:
    """Return the lines that ask both models every question of a concept.

    Args:
        concept: whose questions.
        most: new tokens of what the edited model writes.
    """
    return "\n".join(
        [
            "import pandas as pd",
            "from engram_core.language import complete, recall",
            "",
            "task = sample.task",
            "before, after = (",
            f"    recall(m, task.tokenizer, task.texts, concepts=[{concept!r}], template=task.template)",
            "    for m in (sample.model, edited)",
            ")",
            'asked = before["prompt"].tolist()',
            f"says = complete(edited, task.tokenizer, asked, max_new_tokens={most}, chat=task.template)",
            "table = pd.DataFrame(",
            '    {"question": asked, "answer": before["answer"], "base": before["exact"],',
            '     "edited": after["exact"], "base nats": before["nll"], "edited nats": after["nll"],',
            '     "edited says": [text.strip() for text in says]}',
            ")",
        ]
    )


def sweep_code(
    plan: Plan,
    rule: Rule,
    found: Recommendation | None,
    shams: int,
    held: Sequence[tuple[str, ...]] = (),
    asked: int | None = None,
) -> str:
    """Return the lines that search for the strength again, after those that make `sample` and `atlas`.

    Args:
        plan: the search.
        rule: the rule.
        found: what it recommended, or None.
        shams: seeds of the control.
        held: the sets, or single concepts, that the setting was tried on.
        asked: how many others were asked there.
    """
    targets = _targets_code(plan.targets, plan.together)
    sharp = ", ".join(f"ec.Sharpness({one.power!r}, {one.clip})" for one in plan.filters)
    lines = [
        f"searched = dict({targets})",
        f"table = ec.sweep(sample, atlas, **searched, strengths={list(plan.strengths)!r}, "
        f"scalings={list(plan.scalings)!r},\n    sharpness=[{sharp}], "
        f"groups={ {name: list(layers) for name, layers in plan.groups}!r},\n"
        f"    others={plan.others}, seed={plan.seed})",
    ]
    if found is None:
        return "\n".join(lines)
    ((name, bound),) = rule.options.items()
    measure = "" if rule.measure == "score" else f", measure={rule.measure!r}"
    lines.append(f"rule = ec.recommend(table, {name}={bound:g}{measure})")
    if shams:
        lines.append(
            f"control = ec.sham(sample, atlas, rule.setting, **searched, layers=rule.layers, "
            f"seeds=range({shams}), others={plan.others}, seed={plan.seed})"
        )
    if held:
        lines.append(
            f"held = ec.confirm(sample, atlas, rule.setting, {_targets_code(held, plan.together)}, "
            f"layers=rule.layers, found_on=rule.found_on, others={asked}, seed={plan.seed})"
        )
    return "\n".join(lines)


def _targets_code(targets: Sequence[tuple[str, ...]], together: bool) -> str:
    if together:
        return f"together={[list(target) for target in targets]!r}"
    return f"concepts={[name for (name,) in targets]!r}"
