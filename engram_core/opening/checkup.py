"""A check-up before the work: what is covered, how many rows there will be, what it takes in memory and time.

Nothing is solved and nothing is kept: a few inputs (more where the model is fast) go through it by the
clock, and the rest is counted from them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..concepts.batches import Reader
from ..concepts.concepts import BACKGROUND, Concept, ConceptSet
from ..errors import CoverageError, EngramError
from ..models.layers import find_linear_maps, list_layers
from ..models.view import base_of
from ..numerics.precision import exactly
from ..recording.recording import NEVER_CALLED, Recording, record
from ..sandboxing.limits import free_bytes

__all__ = ["CheckUp", "check_up"]

_TRIED = 8  # inputs that go through the model at first
_ENOUGH = 0.1  # seconds that are long enough to tell
_EACH = 1e-3  # seconds per concept and layer input, measured on authors-lm (100 concepts)
# An eigendecomposition of D × D takes as long as this many D³ multiply-adds of a product (measured: 5 to 10).
_EIGH = 8


@dataclass(frozen=True)
class CheckUp:
    """What is known of a model with its concepts before anything is recorded.

    Attributes:
        layers: one row per layer: layer, kind, covered, reason, width, outputs; and where it is covered an
            estimate of rows (in the total), form (``"dual"`` or ``"primal"``), bytes (statistics and
            solution; 0 where it shares them) and shares (the layer it shares them with, or "").
        concepts: one row per concept and for the background: concept, inputs, rows (those that a layer reads
            at every position; estimated), held_out (inputs to measure on).
        problems: what must be put right first; empty if nothing.
        notes: what is worth knowing.
        parameters: of the model.
        model_bytes: of its parameters.
        memory_bytes: beyond the model, estimated.
        forward_seconds: to record everything, estimated.
        solve_seconds: to extract all engrams, estimated.
    """

    layers: pd.DataFrame
    concepts: pd.DataFrame
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    parameters: int
    model_bytes: int
    memory_bytes: int
    forward_seconds: float
    solve_seconds: float

    @property
    def ok(self) -> bool:
        """Whether recording can start."""
        return not self.problems

    @property
    def seconds(self) -> float:
        """Time to record and extract, estimated."""
        return self.forward_seconds + self.solve_seconds

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("layers", "concepts"):
            table = found[name]
            rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
            found[name] = {"columns": list(table.columns), "rows": rows}
        return found

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> CheckUp:
        """Return what `state` was taken of."""
        found = {each.name: state[each.name] for each in fields(cls)}
        for name in ("layers", "concepts"):
            found[name] = pd.DataFrame(found[name]["rows"], columns=found[name]["columns"])
        for name in ("problems", "notes"):
            found[name] = tuple(map(str, found[name]))
        for name in ("parameters", "model_bytes", "memory_bytes"):
            found[name] = int(found[name])
        for name in ("forward_seconds", "solve_seconds"):
            found[name] = float(found[name])
        return cls(**found)


@exactly
def check_up(model: nn.Module, concepts: ConceptSet | Mapping[str, Any]) -> CheckUp:
    """Check a model and its concepts without recording them; no error is raised for what it finds.

    Args:
        model: any module; it runs a few inputs.
        concepts: a concept set (of texts too), or a mapping name → inputs.

    Raises:
        DataError: if `concepts` is no set of concepts at all.
    """
    base, concepts = base_of(model), ConceptSet.of(concepts)
    problems: list[str] = []
    counts, units = _counts(base, concepts, problems)
    try:
        find_linear_maps(base)
        covered = True
    except CoverageError as error:
        problems.append(str(error))
        covered = False
    recording, tried, seconds = None, 0, 0.0
    if covered and any(units.values()):
        try:
            recording, tried, seconds = _trial(base, concepts, counts)
        except EngramError as error:
            problems.append(str(error))
    table = _layer_table(base, recording, units, tried)
    parameters = sum(p.numel() for p in base.parameters())
    model_bytes = sum(p.numel() * p.element_size() for p in base.parameters())
    memory = int(table["bytes"].sum())
    free = free_bytes()
    if free is not None and memory > free:
        problems.append(
            f"About {memory / 2**30:,.1f} GB are needed beside the model and {free / 2**30:,.1f} GB are "
            "free. Take fewer concepts, or only some layers (layers=…)."
        )
    total = sum(units.values())
    return CheckUp(
        layers=table,
        concepts=pd.DataFrame(
            [(n, counts[n][0], units[n], counts[n][1]) for n in counts],
            columns=["concept", "inputs", "rows", "held_out"],
        ),
        problems=tuple(problems),
        notes=tuple(_notes(base, concepts, counts, units, table, recording)),
        parameters=parameters,
        model_bytes=model_bytes,
        memory_bytes=memory,
        forward_seconds=seconds * total / tried if tried else 0.0,
        solve_seconds=_solve_seconds(table, len(concepts)),
    )


def _is_text(concepts: ConceptSet) -> bool:
    return hasattr(concepts, "texts") and hasattr(concepts, "tokenizer")


def _counts(
    model: nn.Module, concepts: ConceptSet, problems: list[str]
) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Return (inputs, held-out inputs) and rows per concept; a row is a token, or an input."""
    counts: dict[str, tuple[int, int]] = {}
    units: dict[str, int] = {}
    if _is_text(concepts):
        for name, number, item, rows in _tokens(model, concepts):
            if isinstance(rows, EngramError):
                problems.append(f"{name}, text {number} ({item[:40]!r}): {rows}")
                rows = 0
            units[name] = units.get(name, 0) + rows
            inputs = counts.get(name, (0, 0))[0] + 1
            probes: Any = () if name == BACKGROUND else concepts[name].probe or ()
            counts[name] = (inputs, len(probes))
        problems.extend(_unaskable(model, concepts))
        return counts, units
    groups: dict[str, Concept] = dict(concepts)
    if concepts.background is not None:
        groups[BACKGROUND] = Concept(BACKGROUND, concepts.background)
    reader = Reader(model, axis=concepts.batch_axis)
    for name, concept in groups.items():
        sizes = []
        for part in (concept.record, concept.probe):
            try:
                size = 0 if part is None else reader.count(part, name)
            except EngramError as error:
                problems.append(str(error))
                size = 0
            sizes.append(0 if size is None else size)
        if isinstance(concept.record, Iterator):
            problems.append(
                f"Concept {name!r}: its inputs can be read only once, so none was tried or counted: "
                f"recording "
                "would miss them. Give a list of them."
            )
        elif not sizes[0]:
            problems.append(f"Concept {name!r}: its inputs are none, or cannot be counted beforehand.")
        counts[name], units[name] = (sizes[0], sizes[1]), sizes[0]
    return counts, units


def _tokens(model: nn.Module, concepts: Any) -> Iterator[tuple[str, int, str, int | EngramError]]:
    """Yield concept, number of the text, the text, and how many of its positions count (or what is wrong)."""
    from ..language.models import embedding_rows, token_limit
    from ..language.texts import TextItem
    from ..language.tokens import Positions, encode, pick_positions

    limit, rows, options = token_limit(model), embedding_rows(model), concepts._options
    groups = [(c.name, tuple(c.record)) for c in concepts.texts.concepts]
    groups.append((BACKGROUND, tuple(TextItem("", text) for text in concepts.texts.background)))
    for name, items in groups:
        for number, item in enumerate(items, start=1):
            try:
                encoded = encode(
                    concepts.tokenizer, item, template=options["template"], limit=limit, rows=rows
                )
            except EngramError as error:
                yield name, number, item.text, error
                continue
            whole = name == BACKGROUND
            positions: Positions = "all" if whole else options["positions"]
            yield name, number, item.text, len(pick_positions(encoded, positions, fact=item.is_fact))


def _unaskable(model: nn.Module, concepts: Any) -> Iterator[str]:
    """Yield what is wrong with texts that are asked, which would only show when they are."""
    from ..language.models import embedding_rows, token_limit
    from ..language.tokens import check_question, encode

    limit, rows, template = token_limit(model), embedding_rows(model), concepts.template
    for concept in concepts.texts.concepts:
        for split, items in (("record", concept.record), ("probe", concept.probe)):
            for number, item in enumerate(items, start=1):
                try:
                    encoded = encode(concepts.tokenizer, item, template=template, limit=limit, rows=rows)
                except EngramError as error:
                    if split == "probe":  # one that is recorded has been told of
                        yield f"{concept.name}, text {number} ({item.text[:40]!r}): {error}"
                    continue
                try:
                    if item.is_fact:
                        check_question(item, encoded, f"Concept {concept.name!r}, {split} {number}: ")
                except EngramError as error:
                    yield str(error)


def _trial(
    model: nn.Module, concepts: ConceptSet, counts: dict[str, tuple[int, int]]
) -> tuple[Recording, int, float]:
    """Record a few inputs by the clock; return the recording, how many rows they are, and the seconds."""
    count, tried, inputs = _TRIED, 0, sum(count for count, _ in counts.values())
    while True:
        few, units = _few(model, concepts, count)
        if not tried:
            record(model, few)
        start = time.perf_counter()
        recording = record(model, few)
        seconds = time.perf_counter() - start
        # Of a fast model a few inputs would time the calls and not the work.
        if seconds > _ENOUGH or count >= inputs or units == tried:
            return recording, units, seconds
        count, tried = 8 * count, units


def _few(model: nn.Module, concepts: Any, count: int) -> tuple[ConceptSet, int]:
    if _is_text(concepts):
        from ..language.texts import TextConcept

        good = [
            (name, number)
            for name, number, _, rows in _tokens(model, concepts)
            if name != BACKGROUND and not isinstance(rows, EngramError) and rows
        ]
        step = max(1, len(good) // count)
        items = [
            concepts[name].record[number - 1]
            for name, number in good[::step][:count]
            if number <= len(concepts[name].record)
        ]
        few = concepts._of([TextConcept("a few", tuple(items))])
        return few, sum(rows for *_, rows in _tokens(model, few) if isinstance(rows, int))
    # What can be read only once is left to the recording.
    names = [name for name in concepts if not isinstance(concepts[name].record, Iterator)]
    chosen = names[:: max(1, len(names) // 4)][:4]
    found = {}
    units = 0
    for name in chosen:
        reader = Reader(model, batch_size=max(1, count // len(chosen)), axis=concepts.batch_axis)
        batch = next(reader.batches(concepts[name].record, name))
        found[name] = [batch.args] if batch.args else [batch.kwargs]
        units += batch.size
    return ConceptSet((Concept(n, x) for n, x in found.items()), batch_axis=concepts.batch_axis), units


def _layer_table(
    model: nn.Module, recording: Recording | None, units: dict[str, int], tried: int
) -> pd.DataFrame:
    columns = [
        "layer", "kind", "covered", "reason", "width", "outputs", "rows", "form", "bytes", "shares",
    ]  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    owners: dict[int, str] = {}
    for info in list_layers(model) if recording is None else recording.layers:
        if recording is None or info.name not in recording.source_of:
            silent = info.reason == NEVER_CALLED
            reason = "not called with the few inputs tried" if silent else info.reason
            rows.append((info.name, info.kind, info.covered or silent, reason, info.width, info.outputs,
                         0, "", 0, ""))  # fmt: skip
            continue
        place = recording.source_of[info.name]
        source = recording.sources[place]
        each = source.count / tried
        parts = [round(each * n) for n in units.values()]
        total, width = sum(parts), int(info.width or source.columns)
        folded = [n for n in parts if n >= source.columns]
        dual = total < width and not folded
        shared = owners.setdefault(place, info.name)
        size = 0 if shared != info.name else _bytes(parts, folded, width, source.groups, dual)
        rows.append((info.name, info.kind, True, "", info.width, info.outputs, total,
                     "dual" if dual else "primal", size, "" if shared == info.name else shared))  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _bytes(parts: list[int], folded: list[int], width: int, groups: int, dual: bool) -> int:
    """Return the bytes of statistics and solution of one layer input (rows float32, the rest float64)."""
    few = sum(parts) - sum(folded)
    kept = 4 * few * width + 8 * len(folded) * width**2
    if dual:
        total = sum(parts)
        return groups * (kept + 2 * 4 * total * width + 2 * 8 * total**2)
    # The total's eigenvectors, and per concept its second moment, or its rows and their duals.
    return groups * (kept + 8 * width**2 + 8 * len(folded) * width**2 + 2 * 4 * few * width)


def _solve_seconds(table: pd.DataFrame, concepts: int) -> float:
    rate = _multiply_adds_per_second()
    work, solved = 0.0, table[table["bytes"] > 0]
    for row in solved.itertuples():
        n, d = float(row.rows), float(row.width)  # type: ignore[arg-type]
        work += n * n * d + n**3 if row.form == "dual" else _EIGH * d**3 + n * d * d
    return work / rate + _EACH * concepts * len(solved)


def _multiply_adds_per_second() -> float:
    size = 320
    matrix = torch.ones(size, size, dtype=torch.float64)
    matrix @ matrix
    start = time.perf_counter()
    for _ in range(3):
        matrix @ matrix
    return 3 * size**3 / max(time.perf_counter() - start, 1e-6)


def _notes(
    model: nn.Module,
    concepts: ConceptSet,
    counts: dict[str, tuple[int, int]],
    units: dict[str, int],
    table: pd.DataFrame,
    recording: Recording | None,
) -> Iterator[str]:
    total = sum(units.values())
    if _is_text(concepts) and recording is not None:
        from ..language.continuing import check_continues_text

        try:
            check_continues_text(model)
        except EngramError as error:
            yield str(error)
    if len(units) == 1:
        yield (
            "There is one concept and nothing else in the total, so its engram is the whole layer. Add "
            "concepts or a background."
        )
    for name, rows in units.items():
        if name != BACKGROUND and len(units) > 1 and total and rows / total > 0.5:
            yield (
                f"Concept {name!r} is {rows / total:.0%} of all rows; what is not in the total is not "
                "protected."
            )
    without = [name for name, (_, held) in counts.items() if not held and name != BACKGROUND]
    if without:
        shown = ", ".join(map(repr, without[:3])) + (" …" if len(without) > 3 else "")
        yield (
            f"{len(without)} concepts have nothing held out to measure on ({shown}); they are measured on "
            "what was recorded."
        )
    skipped = table[~table["covered"].astype(bool)]
    if len(skipped):
        yield f"{len(skipped)} of {len(table)} layers hold no engram; the table says why."
    silent = table[table["reason"] == "not called with the few inputs tried"]
    if len(silent):
        yield (
            f"{len(silent)} layers were not called with the few inputs tried (experts that were not chosen, "
            "or branches)."
        )
