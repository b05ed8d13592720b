"""Twenty visitors with twenty different edits on one running server: everybody sees their own, and only that.

What must come out is computed beforehand by the core, without the app. ENGRAM_ISOLATION_SECONDS=120 makes it
the long run whose numbers stand in docs/explorer.md; run it with -s to see them.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import Server, running
from socket_visitor import Shown, SocketVisitor

import engram_core as ec
from app.server.fair_lock import FairLock
from engram_core.language import complete

SECONDS = float(os.environ.get("ENGRAM_ISOLATION_SECONDS", "25"))
VISITORS, OF_TEXT = 20, 2  # the last two ask a language model
IMAGES = (1, 2, 3)
TOKENS = 6
PROMPT = "Fabrice Pelliningway was born in"
AUTHORS = (("Fabrice Pelliningway", "Sabine Marroweck"), ("Sabine Marroweck", "Fabrice Pelliningway"))
MIB = 150  # how much the server may grow while they are busy; measured: a few (docs/explorer.md)


@dataclass
class Right:
    """What one edit gives, from the core.

    Attributes:
        answers: by input, probabilities in per cent (images) or the text that follows.
        scores: per cent of every concept, for images.
    """

    answers: dict[str, np.ndarray | str]
    scores: np.ndarray | None = None


@dataclass
class Person:
    """One visitor's script: edits that nobody else has, told apart by their strength.

    Attributes:
        address: what they come with.
        choices: concepts by the phrase that the page uses for the edit.
        right: what must be shown, by that phrase.
        plain: what the base says.
        inputs: what they look at.
        answers: panels and figures that were compared.
        scores: figures of all concepts that were compared.
        waits: seconds from a choice to its answer.
    """

    address: list[tuple[str, str]]
    choices: dict[str, list[str]]
    right: dict[str, Right]
    plain: Right
    inputs: tuple[str, ...]
    text: bool = False
    answers: int = 0
    scores: int = 0
    waits: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def check(self, shown: Shown) -> None:
        """Compare whatever arrives, be it overwritten a moment later."""
        edit = self.right.get(shown.status)
        if edit is None or shown.about not in self.inputs:
            self.faults.append(f"nobody here asked for {shown.status!r}, {shown.about!r}")
            return
        if self.text:
            self._check_text(shown, edit)
        else:
            self._check_image(shown, edit)

    def _check_text(self, shown: Shown, edit: Right) -> None:
        idle = edit is self.plain
        pairs = [(shown.base, self.plain)] + ([] if idle else [(shown.edited, edit)])
        for said, right in pairs:
            text = str(right.answers[shown.about])
            if not (said == text if shown.done else text.startswith(said)):
                self.faults.append(f"{shown.status}: {said!r} and not {text!r}")
        self.answers += shown.done

    def _check_image(self, shown: Shown, edit: Right) -> None:
        base, edited = (np.asarray(right.answers[shown.about]) for right in (self.plain, edit))
        names = [str(base.argmax()), str(edited.argmax())]
        if shown.base != names[0] or (edit is not self.plain and shown.edited != names[1]):
            self.faults.append(f"{shown.status}, {shown.about}: {shown.base} → {shown.edited}, right {names}")
        for seen, right in ((shown.answer, (base, edited)), (shown.scores, (self.plain.scores, edit.scores))):
            if seen is None:
                continue
            for got, expected in zip(seen, right, strict=True):
                if not np.allclose(got, expected, atol=2e-3):
                    self.faults.append(f"{shown.status}, {shown.about}: {got} and not {expected}")
        self.answers += 1
        self.scores += shown.scores is not None


def _strengths() -> list[float]:
    return [round(0.3 + 0.05 * i, 2) for i in range(VISITORS)]


@pytest.fixture(scope="module")
def people() -> list[Person]:
    """Return every visitor's script with what the core computes for it."""
    digits = ec.load_sample("digits-mlp")
    atlas = ec.extract(digits.model, ec.record(digits.model, digits.concepts))
    sharp = atlas.sharpen(2)
    writer = ec.load_sample("authors-lm")
    library = ec.extract(writer.model, ec.record(writer.model, writer.concepts))
    return [
        _of_text(writer, library, names, 1.0 + strength)
        if (names := AUTHORS[i - VISITORS + OF_TEXT] if i >= VISITORS - OF_TEXT else None)
        else _of_images(digits, sharp if i % 5 == 4 else atlas, i, strength)
        for i, strength in enumerate(_strengths())
    ]


def _right(sample: ec.Sample, model, concept: str) -> Right:  # noqa: ANN001
    answers = {
        f"held-out image {n}": 100
        * sample.task.probabilities(model, sample.concepts[concept].probe[n - 1 : n])[0].double().numpy()
        for n in IMAGES
    }
    scores = sample.task.measure(model, sample.concepts).score
    return Right(answers, np.array([100 * scores[str(c)] for c in range(10)]))


def _of_images(sample: ec.Sample, atlas: ec.Atlas, number: int, strength: float) -> Person:
    concept, other = str(number % 10), str((number + 3) % 10)
    keep, adaptive = number % 5 == 3, number % 5 == 2
    address = [
        ("page", "live"), ("model", sample.name), ("class", concept), ("image", "1"), ("concepts", concept),
        ("strength", f"{strength:g}"),
    ]  # fmt: skip
    address += [("mode", "Keep only")] if keep else []
    address += [("scaling", "adaptive")] if adaptive else []
    address += [("power", "2")] if number % 5 == 4 else []
    choices, right = {}, {}
    for names in ([concept], [concept, other]):
        strengths = dict.fromkeys(names, strength)
        view = (
            atlas.apply(sample.model, keep=strengths)
            if keep
            else atlas.apply(sample.model, erase=strengths, scaling="adaptive" if adaptive else "plain")
        )
        ordered = ", ".join(sorted(names))
        phrase = (
            f"{ordered} isolated, from zero weights, strength {strength:g}"
            if keep
            else f"{ordered} erased, strength {strength:g}"
        )
        choices[phrase], right[phrase] = sorted(names), _right(sample, view, concept)
    plain = _right(sample, sample.model, concept)
    nothing = "No edit"
    choices[nothing], right[nothing] = [], plain
    return Person(address, choices, right, plain, tuple(plain.answers))


def _of_text(sample: ec.Sample, atlas: ec.Atlas, names: tuple[str, str], strength: float) -> Person:
    strength = round(strength, 2)
    prompts = (PROMPT,)
    address = [
        ("page", "live"), ("model", sample.name), ("concepts", names[0]), ("strength", f"{strength:g}"),
        ("prompt", prompts[0]), ("tokens", str(TOKENS)),
    ]  # fmt: skip

    def said(model) -> Right:  # noqa: ANN001
        texts = complete(model, sample.task.tokenizer, list(prompts), max_new_tokens=TOKENS)
        return Right({prompt: text.strip() for prompt, text in zip(prompts, texts, strict=True)})

    plain = said(sample.model)
    choices, right = {"No edit": []}, {"No edit": plain}
    for chosen in (names[:1], names):
        ordered = [name for name in sample.concepts if name in chosen]  # as the page names them
        phrase = f"{', '.join(ordered)} erased, strength {strength:g}"
        choices[phrase] = list(chosen)
        right[phrase] = said(atlas.apply(sample.model, erase=dict.fromkeys(chosen, strength)))
    return Person(address, choices, right, plain, prompts, text=True)


async def _until(ready: Callable[[SocketVisitor], bool], visitor: SocketVisitor, person: Person) -> None:
    try:
        await visitor.until(ready, seconds=240)
    except TimeoutError:
        raise AssertionError(
            f"Nothing came within 240 s for {person.address}; last seen: {visitor.shown}; "
            f"finished: {visitor.finished}; wrong so far: {person.faults[:3]}"
        ) from None


async def _visit(person: Person, port: int, seed: int, started: asyncio.Barrier, seconds: float) -> None:
    chance = random.Random(seed)
    visitor = SocketVisitor(port, person.check)
    phrase, looking = next(p for p, names in person.choices.items() if names), person.inputs[0]

    def there(v: SocketVisitor) -> bool:
        shown = v.shown
        return (
            shown is not None
            and (shown.status, shown.about) == (phrase, looking)
            and shown.done
            and (person.text or shown.answer is not None)
        )

    try:
        await visitor.open(person.address)
        await _until(there, visitor, person)
        await started.wait()
        end, step = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            step += 1
            if person.text or chance.random() < 0.6:
                phrase = chance.choice([p for p in person.choices if p != phrase])
                change: dict = {"concepts": person.choices[phrase]}
            else:
                looking = chance.choice([about for about in person.inputs if about != looking])
                change = {"image": float(looking.split()[-1])}
            asked = time.monotonic()
            await visitor.choose(**change)
            await _until(there, visitor, person)
            person.waits.append(time.monotonic() - asked)
            if step % 4 == 0:  # now and then somebody waits for the scores of all concepts
                await _until(lambda v: there(v) and v.finished, visitor, person)
            else:
                await visitor.rest(chance.uniform(0.1, 1.5))
        await started.wait()
    finally:
        await visitor.close()


async def _all(people: list[Person], server: Server, seconds: float) -> list[float]:
    """Let all of them in, and return the server's memory once all are there, and when all have finished."""
    sizes: list[float] = []
    started = asyncio.Barrier(len(people) + 1)

    async def watch() -> None:
        for _ in range(2):
            await started.wait()
            sizes.append(server.resident)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        for seed, person in enumerate(people):
            group.create_task(_visit(person, server.port, seed, started, seconds))
    return sizes


def test_twenty_visitors_see_their_own_edit_and_nothing_else(people: list[Person], tmp_path: Path):
    assert len({p for person in people for p in person.right}) > 2 * VISITORS  # nobody shares an edit
    # Another visitor's output would not go unnoticed: each edit changes what is shown.
    for person in people:
        if not person.text:
            shown = [np.concatenate(list(right.answers.values())) for right in person.right.values()]
            assert min(np.abs(a - b).max() for i, a in enumerate(shown) for b in shown[:i]) > 0.05
    with running(tmp_path / "server.log") as server:
        empty = server.resident
        before, after = asyncio.run(_all(people, server, SECONDS))
        assert "Traceback" not in (tmp_path / "server.log").read_text()
    faults = Counter(fault for person in people for fault in person.faults)
    waits = [wait for person in people for wait in person.waits]
    slow = max(wait for person in people if person.text for wait in person.waits)
    print(
        f"\n{len(people)} visitors, {SECONDS:.0f} s: {len(waits)} choices, "
        f"{sum(p.answers for p in people)} answers and {sum(p.scores for p in people)} score figures "
        f"compared, {sum(faults.values())} wrong; choice → answer median {statistics.median(waits):.2f} s, "
        f"worst {max(waits):.1f} s (of texts {slow:.1f} s); memory {empty:.0f} MiB empty, {before:.0f} with "
        f"all of them there, {after:.0f} at the end ({after - before:+.0f})"
    )
    assert not faults, "\n".join(f"{count} × {fault}" for fault, count in faults.most_common(10))
    assert all(person.waits for person in people)
    assert sum(p.scores for p in people) > 0 and all(p.answers for p in people)
    assert after - before < MIB


def test_a_new_choice_ends_the_scoring_of_the_one_before(tmp_path: Path):
    # A fragment's run would not be ended by a click inside it: the next answer waited for all the scores.
    async def visit(port: int) -> int:
        visitor = SocketVisitor(port, lambda _: None)
        await visitor.open([("page", "live"), ("model", "authors-lm"), ("prompt", PROMPT), ("tokens", "1")])
        await visitor.until(lambda v: v.finished, seconds=240)
        for names in (["Fabrice Pelliningway"], ["Sabine Marroweck"]):
            await visitor.choose(concepts=names)
            await visitor.until(lambda v: bool(v.shown and v.shown.done), seconds=60)
        # The first was answered; its hundred authors were being scored when the second was chosen.
        await visitor.until(lambda v: v.finished, seconds=240)
        await visitor.close()
        return visitor.cut_short

    with running(tmp_path / "server.log") as server:
        assert asyncio.run(visit(server.port)) == 1


def test_turns_are_taken_in_order_and_an_answer_goes_ahead():
    turns, order = FairLock(), []
    waiting = []

    def work(name: str, lock: Any) -> None:
        with lock, turns:  # asked for twice by one thread: it has its turn already
            order.append(name)

    with turns:
        for name, lock in (("first", turns), ("second", turns), ("answer", turns.ahead), ("third", turns)):
            waiting.append(threading.Thread(target=work, args=(name, lock)))
            waiting[-1].start()
            deadline = time.monotonic() + 5
            while len(turns._queue) + len(turns._ahead) < len(waiting) and time.monotonic() < deadline:
                time.sleep(0.005)
        assert order == []
    for thread in waiting:
        thread.join(5)
    assert order == ["answer", "first", "second", "third"]
    with pytest.raises(RuntimeError):
        turns.release()
