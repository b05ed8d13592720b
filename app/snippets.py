"""Python that reproduces what a page shows, by the core's own names."""

from __future__ import annotations

from collections.abc import Sequence

from engram_core.recommending import Recommendation

from .choice import Choice
from .search import Plan, Rule

__all__ = ["edit_code", "model_code", "subset_code", "sweep_code"]


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
        "atlas = ec.extract(sample.model, recording)",
    ]
    if choice.power != 1 or choice.clip:
        lines.append(f"atlas = atlas.sharpen({choice.power:g}{', clip=True' if choice.clip else ''})")
    return "\n".join(lines)


def subset_code(names: Sequence[str], classes: Sequence[str]) -> str:
    """Return the line that makes `some`: the sample, or only some of its concepts."""
    if len(names) == len(classes):
        return "some = sample"
    return f"some = ec.Subject(sample.model, sample.concepts.subset({list(names)!r}), sample.task)"


def edit_code(load: str, choice: Choice, classes: Sequence[str]) -> str:
    """Return the lines that make `edited`, the edited view of a choice."""
    code = model_code(load, choice)
    if not choice.changes:
        return f"{code}\nedited = sample.model  # nothing is switched off"
    layers = "" if choice.everywhere else f", layers={list(choice.layers)!r}"
    if choice.from_nothing:
        return f"{code}\nedited = atlas.apply(sample.model, keep={choice.strengths!r}{layers})"
    scaling = "" if choice.scaling == "plain" else f", scaling={choice.scaling!r}"
    if choice.keeps:
        strengths = dict.fromkeys((name for name in classes if name not in choice.concepts), choice.strength)
    else:
        strengths = choice.strengths
    return f"{code}\nedited = atlas.apply(sample.model, erase={strengths!r}{layers}{scaling})"


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
