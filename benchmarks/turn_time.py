"""How long one visitor's work keeps all others waiting: the longest time the lock is held without a break.

    python benchmarks/turn_time.py smollm2-135m
    python benchmarks/turn_time.py smollm2-135m cosines effect     # only parts with these words

Each part of a page that computes is worked through as the page does it. What is printed is the longest
single turn, the whole time, and how many steps the bar got. Beside other work on the same machine all times
are longer by what that takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from app.choice.choice import FROM_NOTHING, clean
from app.compute import by_layer as layer_tables
from app.compute import cell_inputs, maps, texts
from app.compute import criteria as measures
from app.server.background_load import BackgroundLoad
from app.server.fair_lock import FairLock


class Watch:
    """Notes how long turns are held."""

    def __init__(self, parts: list[str]) -> None:
        self._parts = parts or [""]
        self.longest = 0.0
        self._since = 0.0
        acquire, release = FairLock.acquire, FairLock.release

        def acquired(lock: FairLock, *, ahead: bool = False) -> None:
            acquire(lock, ahead=ahead)
            if lock._depth == 1:
                self._since = time.perf_counter()

        def released(lock: FairLock) -> None:
            if lock._depth == 1:
                self.longest = max(self.longest, time.perf_counter() - self._since)
            release(lock)

        FairLock.acquire, FairLock.release = acquired, released  # type: ignore[method-assign]

    def time(self, name: str, make: Callable[[], Iterator[Any]]) -> None:
        """Work through something, and print how long others had to wait."""
        if not any(part in name for part in self._parts):
            return
        self.longest, count, start = 0.0, 0, time.perf_counter()
        for _ in make():
            count += 1
        whole = time.perf_counter() - start
        print(f"{name:42} {self.longest:8.2f} s {whole:8.1f} s {count:6} steps", flush=True)


def main(model: str, *parts: str) -> None:
    """Measure every part of the pages that computes for a language model."""
    watch, base = Watch(list(parts)), BackgroundLoad.of_sample(model).base()
    names, layers = base.facts.classes, base.facts.layers
    one, twelve = (clean({"concepts": list(names[:count])}, base.facts) for count in (1, 12))
    chosen = measures.selection(base.facts, one.concepts)
    question = texts.questions_of(base, names[0])[0]
    short = f"{question.prompt} {question.answer}"
    every = (q for name in names[:6] for q in texts.questions_of(base, name))
    long = " ".join(f"{q.prompt} {q.answer}." for q in every)[:600]
    by = "layer" if len(layers) <= 30 else "blocks"
    row = measures.key_of(one, names[0], "necessity", FROM_NOTHING)
    kind = next(iter(layer_tables.groups_of(base)["one kind of layer at a time"].items()))
    print(f"{model}: part, longest turn, whole, steps of the bar")
    watch.time("questions about twelve concepts", lambda: texts.answers(base, twelve, names[:12]))
    for length, text in (("short", short), ("long", long)):
        watch.time(f"tokens, {by}, {length} text", lambda text=text: texts.changes(base, one, text, by=by))
        watch.time(
            f"where it answers, {length} text",
            lambda text=text: texts.reactivation(base, one, names[0], text),
        )
    watch.time("where the engram is", lambda: texts.energy(base, one, names[0]))
    watch.time("behind a cell", lambda: cell_inputs.text_answers(base, row, names[0]))
    shown = maps.shown_concepts(base, one, engrams=True)
    watch.time("cosines in all layers", lambda: maps.compare_engrams(base, shown, ""))
    watch.time(
        "responses of one layer",
        lambda: measures.measure_responses(base, one, chosen, layers[:1], measures.SHAMS),
    )
    watch.time("effect of one kind of layer", lambda: layer_tables.measure_effects(base, one, dict([kind])))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["authors-lm"]))
