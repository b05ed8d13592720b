"""Erase facts from SmolLM2: choose the setting on 8 concepts, confirm it on the 16 others.

Run ``python -m benchmarks.smollm2_erasure [before] [select] [confirm] [positions] [authors]`` (default: all);
prints the Markdown tables of docs/smollm2.md and docs/language.md. ``--write`` keeps the figures in the
sample's metrics.json. Everything is deterministic, and no time is measured.

The rule: among the settings that raise the erased answers by at least `OWN` nats and their paraphrases
by at least `PROBE`, mean of 8 concepts, take the one whose damage (near neighbours + unrelated facts + text)
is least.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import engram_core as ec
from engram_core.language import (
    POSITIONS,
    LanguageConcepts,
    TextConcept,
    TextItem,
    TextSet,
    perplexity,
    recall,
)

NAME = "smollm2-135m"
OWN, PROBE = 6.0, 4.0  # one nat above the targets, because other concepts will differ
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Setting:
    """One way to erase: where, with which filter, how strongly."""

    group: str
    layers: tuple[str, ...] | None
    blocks: tuple[int, int] | None
    power: float
    strength: float

    def __str__(self) -> str:
        shape = "μ" if self.power == 1 else f"μ^{self.power:g}"
        return f"{self.group}, {self.strength:g} {shape}"

    def edit(self, concept: str) -> dict[str, Any]:
        blocks = None if self.blocks is None else range(*self.blocks)
        return {"erase": {concept: self.strength}, "layers": self.layers, "blocks": blocks}


def _settings() -> list[Setting]:
    every = [(1.0, s) for s in (0.3, 0.4, 0.5, 0.7, 1.0)] + [(2.0, s) for s in (0.3, 0.5, 0.8)]
    every += [(4.0, s) for s in (0.5,)]
    grid = [Setting("all layers", None, None, p, s) for p, s in every]
    grid += [Setting("attention", ATTENTION, None, p, s) for p, s in ((1.0, 0.7), (1.0, 1.0), (2.0, 1.0))]
    grid += [Setting("MLP", MLP, None, p, s) for p, s in ((1.0, 0.5), (2.0, 0.5))]
    grid += [Setting("blocks 0–9", None, (0, 10), p, s) for p, s in ((1.0, 0.5), (2.0, 0.8))]
    grid += [Setting("blocks 10–19", None, (10, 20), 1.0, 1.0)]
    grid += [Setting("blocks 20–29", None, (20, 30), p, s) for p, s in ((1.0, 0.7), (1.0, 1.0), (2.0, 1.0))]
    return grid


@dataclass(frozen=True)
class Outcome:
    """What one erasure changed, in nats per answer token (text: per token)."""

    concept: str
    own: float
    probe: float
    unrelated: float
    worst: float
    worst_question: str
    near: float  # nan if the family has no held-out question
    near_worst: float
    others: float
    text: float
    exact: float  # recall left on the recorded questions
    exact_probe: float
    exact_unrelated: tuple[float, float]  # before, after


class Study:
    """The sample, its held-out questions, and edited views that are made once and then only set."""

    def __init__(self) -> None:
        self.sample = ec.load_sample(NAME)
        self.held: dict[str, Any] = json.loads((self.sample.folder / "held-out.json").read_text("utf-8"))
        self.chosen_on: list[str] = self.held["chosen_on"]
        self.tokenizer = self.sample.concepts.tokenizer  # type: ignore[attr-defined]
        self.texts: TextSet = self.sample.concepts.texts  # type: ignore[attr-defined]
        self._views: dict[tuple[str, float], Any] = {}
        self._atlases: dict[str, ec.Atlas] = {}
        self._before: dict[tuple[str, bool], Any] = {}

    def atlas(self, positions: str) -> ec.Atlas:
        if positions not in self._atlases:
            concepts = LanguageConcepts(self.tokenizer, self.texts, positions=positions)  # type: ignore[arg-type]
            recording = ec.record(self.sample.model, concepts)
            self._atlases = {positions: ec.extract(self.sample.model, recording)}  # one at a time: 1.4 GB
            self._views = {}
        return self._atlases[positions]

    def view(self, positions: str, power: float) -> Any:
        atlas = self.atlas(positions)
        if (positions, power) not in self._views:
            first = next(iter(self.texts))
            self._views[positions, power] = atlas.sharpen(power).apply(erase={first: 0.0})
        return self._views[positions, power]

    def questions(self, concept: str, full: bool) -> tuple[TextSet, list[str]]:
        """Return what is asked when `concept` is erased, in four groups, and the held-out sentences."""
        family = next(f for f, names in self.held["families"].items() if concept in names)
        facts = {f: [TextItem(**q) for q in rows] for f, rows in self.held["facts"].items()}
        near = facts.pop(family, [])
        unrelated = [item for rows in facts.values() for item in rows]
        others = [self.texts[name].record[0] for name in self.texts if name != concept]
        if not full:
            others, unrelated = others[::4], unrelated[::2]
        groups = [
            TextConcept("own", self.texts[concept].record, self.texts[concept].probe),
            TextConcept("unrelated", tuple(unrelated)),
            TextConcept("others", tuple(others)),
        ]
        if near:
            groups.append(TextConcept("near", tuple(near)))
        return TextSet(tuple(groups)), self.held["texts"] if full else self.held["texts"][:8]

    def _ask(self, model: Any, concept: str, full: bool) -> tuple[Any, float]:
        texts, sentences = self.questions(concept, full)
        table = recall(model, self.tokenizer, texts)
        return table, math.log(perplexity(model, self.tokenizer, sentences))

    def erase(self, concept: str, setting: Setting, *, positions: str = "all", full: bool = True) -> Outcome:
        """Erase one concept and ask everything."""
        key = (concept, full)
        if key not in self._before:
            self._before[key] = self._ask(self.sample.model, concept, full)
        before, text_before = self._before[key]
        view = self.view(positions, setting.power)
        view.engram_edit.set(**setting.edit(concept))
        table, text = self._ask(view, concept, full)
        table["change"] = table.nll - before.nll

        def part(name: str, split: str = "record") -> Any:
            return table[(table.concept == name) & (table.split == split)]

        def was(name: str) -> float:
            return float(before[(before.concept == name) & (before.split == "record")].exact.mean())

        own, probe, unrelated, near = part("own"), part("own", "probe"), part("unrelated"), part("near")
        worst = unrelated.loc[unrelated.change.idxmax()]
        return Outcome(
            concept, own.change.mean(), probe.change.mean(), unrelated.change.mean(), worst.change,
            f"{worst.prompt} {worst.answer}", near.change.mean(), near.change.max(),
            part("others").change.mean(), text - text_before, own.exact.mean(), probe.exact.mean(),
            (was("unrelated"), unrelated.exact.mean()),
        )  # fmt: skip


def _mean(outcomes: Iterable[Outcome], name: str) -> float:
    values = [getattr(o, name) for o in outcomes]
    values = [v for v in values if not math.isnan(v)]
    return sum(values) / len(values) if values else math.nan


MEANS = ("own", "probe", "unrelated", "near", "others", "text")


def summary(outcomes: Sequence[Outcome]) -> dict[str, float]:
    found = {name: _mean(outcomes, name) for name in MEANS}
    found["worst"] = max(o.worst for o in outcomes)
    found["near_worst"] = max(
        (o.near_worst for o in outcomes if not math.isnan(o.near_worst)), default=math.nan
    )
    return found


def damage(found: dict[str, float]) -> float:
    """Return the sum of what should not change; getting better counts as no change."""
    return sum(max(0.0, found[name]) for name in ("near", "unrelated", "text"))


HEAD = (
    "| setting | erased | its paraphrases | unrelated facts (worst) | near neighbours (worst) | "
    "other concepts | text | damage |\n|---|--:|--:|--:|--:|--:|--:|--:|"
)


def line(label: str, s: dict[str, float]) -> str:
    return (
        f"| {label} | {s['own']:+.2f} | {s['probe']:+.2f} | {s['unrelated']:+.2f} ({s['worst']:+.2f}) | "
        f"{s['near']:+.2f} ({s['near_worst']:+.2f}) | {s['others']:+.3f} | {s['text']:+.3f} | "
        f"{damage(s):.2f} |"
    )


def before(study: Study) -> dict[str, Any]:
    """Show what the model knows before any edit."""
    table = recall(study.sample.model, study.tokenizer, study.texts)
    print("| concept | answer | recall | first token | NLL | paraphrases: recall | first token | NLL |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    concepts = {}
    for name, rows in table.groupby("concept", sort=False):
        cells = []
        for split in ("record", "probe"):
            part = rows[rows.split == split]
            cells += [float(part.exact.mean()), float(part["first"].mean()), float(part.nll.mean())]
        concepts[str(name)] = dict(
            zip(("recall", "first", "nll", "probe_recall", "probe_first", "probe_nll"), cells, strict=True)
        )
        shown = " | ".join(f"{v:.2f}" for v in cells)
        print(f"| {name} | {rows.answer.iloc[0]} | {shown} |", flush=True)
    parts = {}
    for split in ("record", "probe"):
        part = table[table.split == split]
        parts[split] = {
            "size": len(part), "recall": float(part.exact.mean()), "first": float(part["first"].mean()),
            "nll": float(part.nll.mean()),
        }  # fmt: skip
    return parts | {"before": concepts}


def select(study: Study) -> tuple[Setting, dict[str, Any]]:
    """Try every setting on the concepts to choose on; return the one the rule takes."""
    print(f"\nMean of {len(study.chosen_on)} concepts: {', '.join(study.chosen_on)}.\n\n{HEAD}", flush=True)
    found = {}
    for setting in _settings():
        found[setting] = summary([study.erase(c, setting, full=False) for c in study.chosen_on])
        print(line(str(setting), found[setting]), flush=True)
    strong = {s: d for s, d in found.items() if d["own"] >= OWN and d["probe"] >= PROBE}
    best = min(strong, key=lambda s: damage(strong[s]))
    print(f"\nThe rule takes: {best}.", flush=True)
    return best, {"setting": {**vars(best), "text": str(best)}, "chosen_on": found[best]}


def confirm(study: Study, settings: Sequence[Setting]) -> dict[str, Any]:
    """Erase each of the other concepts at the chosen setting (the first), then at others for comparison."""
    names = [name for name in study.texts if name not in study.chosen_on]
    kept: dict[str, Any] = {}
    for setting in settings:
        outcomes = [study.erase(name, setting) for name in names]
        if not kept:
            each = [
                {k: None if v != v else v for k, v in vars(o).items()} for o in outcomes
            ]  # JSON has no nan
            kept = {"confirmed": summary(outcomes), "per_concept": each}
            print(f"\n{setting}, concept by concept:\n")
            print("| erased | NLL | paraphrases | recall left | on paraphrases | unrelated | worst | "
                  "near neighbours (worst) | other concepts | text |")  # fmt: skip
            print("|---|--:|--:|--:|--:|--:|---|--:|--:|--:|")
            for o in outcomes:
                near = "none" if math.isnan(o.near) else f"{o.near:+.2f} ({o.near_worst:+.2f})"
                worst = o.worst_question.replace("\n", " ")
                print(
                    f"| {o.concept} | {o.own:+.2f} | {o.probe:+.2f} | {o.exact:.2f} | {o.exact_probe:.2f} | "
                    f"{o.unrelated:+.2f} | {o.worst:+.2f}: {worst} | {near} | {o.others:+.3f} | "
                    f"{o.text:+.3f} |",
                    flush=True,
                )
            print(f"\nMean of {len(names)} other concepts:\n\n{HEAD}")
        print(line(str(setting), summary(outcomes)), flush=True)
    return kept


def positions(study: Study) -> dict[str, Any]:
    """Compare the three choices of positions over strengths, plain, on half of the concepts to choose on."""
    print(f"\n{HEAD.replace('| setting |', '| rows that enter, strength |')}", flush=True)
    found = {}
    for name in POSITIONS:
        for strength in (0.3, 0.5, 1.0, 2.0):
            setting = Setting("all layers", None, None, 1.0, strength)
            outcomes = [study.erase(c, setting, positions=name, full=False) for c in study.chosen_on[::2]]
            found[f"{name}, {strength:g}"] = summary(outcomes)
            print(line(f"{name}, {strength:g}", summary(outcomes)), flush=True)
    return {"positions": found}


def authors() -> None:
    """Compare the three choices of positions on authors-lm: 12 authors, one erased at a time."""
    sample = ec.load_sample("authors-lm")
    texts, tokenizer = sample.concepts.texts, sample.concepts.tokenizer  # type: ignore[attr-defined]
    names = list(texts)
    chosen = [names[i] for i in torch.randperm(len(names), generator=torch.Generator().manual_seed(0))[:12]]
    print(
        "\n| rows that enter | α | that author's recall | its unseen phrasings | all other authors (worst) |"
    )
    print("|---|--:|--:|--:|--:|")
    for name in POSITIONS:
        concepts = LanguageConcepts(tokenizer, texts, positions=name)
        atlas = ec.extract(sample.model, ec.record(sample.model, concepts))
        view = atlas.apply(erase={chosen[0]: 0.0})
        for strength in (1.0, 2.0, 2.5, 4.0):
            own, unseen, rest = [], [], []
            for author in chosen:
                view.engram_edit.set(erase={author: strength})
                table = recall(view, tokenizer, texts)
                mine = table[table.concept == author]
                own.append(mine[mine.split == "record"].exact.mean())
                unseen.append(mine[mine.split == "probe"].exact.mean())
                rest.append(table[table.concept != author].exact.mean())
            means = [sum(v) / len(v) for v in (own, unseen, rest)]
            print(
                f"| {name} | {strength:g} | {means[0]:.3f} | {means[1]:.3f} | "
                f"{means[2]:.3f} ({min(rest):.3f}) |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parts = ("before", "select", "confirm", "positions", "authors")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}")
    parser.add_argument("--write", action="store_true", help="keep the figures in metrics.json")
    options = parser.parse_args()
    chosen = options.parts or list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(parts)}")
    if "authors" in chosen:
        authors()
    if set(chosen) == {"authors"}:
        return
    study = Study()
    path = study.sample.folder / "metrics.json"
    metrics: dict[str, Any] = json.loads(path.read_text("utf-8"))
    fields = ("group", "layers", "blocks", "power", "strength")
    if "before" in chosen:
        metrics |= before(study)
    if "select" in chosen:
        metrics |= select(study)[1]
    best = None
    if "setting" in metrics:
        kept = {f: metrics["setting"][f] for f in fields}
        best = Setting(**{k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in kept.items()})
    elif "confirm" in chosen:
        parser.error("there is no chosen setting yet; run select as well, with --write to keep it")
    if "confirm" in chosen and best is not None:
        plain = [Setting("all layers", None, None, 1.0, s) for s in (0.5,)]
        metrics |= confirm(study, [best, *plain])
    if "positions" in chosen:
        metrics |= positions(study)
    if options.write:
        path.write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
