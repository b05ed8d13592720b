"""Ask SmolLM2 what `smollm2_erasure` does not: in a chat, and about events, at the sample's own setting.

Run ``python -m benchmarks.smollm2_asked [chat] [events]`` (default: both); prints the Markdown tables of
docs/smollm2.md. Everything is greedy and deterministic, and no time is measured.

``chat``: replies before and after a fact is erased, through the chat template. They are read by machine: a
reply is right if the answer occurs in it as a word, whatever else it says. The engrams are those of the
sample, recorded from plain sentences, so nothing that is asked was recorded in this form. The eight concepts
took no part in finding the setting.

``events``: the near neighbours of the two events, which joined the sample after its tables were measured.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from typing import Any

import engram_core as ec
from engram_core.language import TextConcept, TextItem, TextSet, complete, is_degenerate, recall

NAME = "smollm2-135m"
TOKENS = 40


@dataclass(frozen=True)
class Question:
    """A question and the word that a right reply holds."""

    text: str
    answer: str

    def right(self, reply: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(self.answer)}(?!\w)", reply) is not None


_CAPITAL = (
    "What is the capital of {}?", "Which city is the capital of {}?", "Please name the capital city of {}.",
)  # fmt: skip
_SYMBOL = (
    "What is the chemical symbol for {}?", "Which symbol does {} have in the periodic table?",
    "Please tell me the chemical symbol of {}.",
)  # fmt: skip
ERASED: dict[str, tuple[str, tuple[Question, ...]]] = {
    concept: (family, tuple(Question(form.format(name), answer) for form in forms))
    for concept, family, name, answer, forms in (
        ("capital of Japan", "capital", "Japan", "Tokyo", _CAPITAL),
        ("capital of France", "capital", "France", "Paris", _CAPITAL),
        ("capital of South Korea", "capital", "South Korea", "Seoul", _CAPITAL),
        ("symbol of gold", "element", "gold", "Au", _SYMBOL),
        ("symbol of hydrogen", "element", "hydrogen", "H", _SYMBOL),
        ("Eiffel Tower", "landmark", "the Eiffel Tower", "Paris",
         ("In which city is {}?", "Where is {}?", "Which city would I visit to see {}?")),
        ("Romeo and Juliet", "person", "Romeo and Juliet", "Shakespeare",
         ("Who wrote {}?", "Who is the author of {}?", "Which playwright wrote {}?")),
        ("theory of relativity", "person", "the theory of relativity", "Einstein",
         ("Who developed {}?", "Which physicist came up with {}?", "Who is known for {}?")),
    )
}  # fmt: skip
"""By concept: its family in held-out.json, and what is asked about it."""

# Asked after every erasure; near to a concept of the same family, unrelated to the others.
OTHERS: dict[str, tuple[Question, ...]] = {
    "capital": tuple(
        Question(_CAPITAL[0].format(name), answer)
        for name, answer in (
            ("Germany", "Berlin"), ("Italy", "Rome"), ("China", "Beijing"), ("Spain", "Madrid"),
            ("Sweden", "Stockholm"), ("Portugal", "Lisbon"), ("Thailand", "Bangkok"), ("Kenya", "Nairobi"),
        )
    ),
    "element": tuple(
        Question(_SYMBOL[0].format(name), answer)
        for name, answer in (
            ("sodium", "Na"), ("iron", "Fe"), ("potassium", "K"), ("copper", "Cu"), ("zinc", "Zn"),
            ("oxygen", "O"), ("lithium", "Li"), ("nitrogen", "N"),
        )
    ),
    "landmark": (
        Question("In which city is the Colosseum?", "Rome"), Question("In which city is Big Ben?", "London"),
        Question("In which city is the Statue of Liberty?", "New York"),
        Question("In which country is the Taj Mahal?", "India"),
        Question("In which country is Machu Picchu?", "Peru"),
        Question("In which country is the Great Pyramid of Giza?", "Egypt"),
    ),
    "person": (
        Question("Who wrote Pride and Prejudice?", "Austen"),
        Question("Who painted the Mona Lisa?", "Leonardo"),
        Question("Who wrote On the Origin of Species?", "Darwin"),
        Question("Who discovered penicillin?", "Fleming"), Question("Who wrote Harry Potter?", "Rowling"),
        Question("Who wrote the novel 1984?", "Orwell"), Question("Who invented the telephone?", "Bell"),
    ),
    "other": (
        Question("How many days does a week have?", "seven"),
        Question("What is the opposite of hot?", "cold"),
        Question("Which organ pumps blood through the body?", "heart"),
        Question("What is the tallest mountain on Earth?", "Everest"),
        Question("What is the official language of Mexico?", "Spanish"),
        Question("What do bees make?", "honey"), Question("What is frozen water called?", "ice"),
        Question("Which planet is known as the Red Planet?", "Mars"),
    ),
}  # fmt: skip


def _short(reply: str, most: int = 110) -> str:
    text = " ".join(reply.split()).replace("|", "/")
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _share(pairs: list[tuple[bool, bool]]) -> str:
    """Write right replies of the base and, of those, how many are right after the edit."""
    known = [after for before, after in pairs if before]
    return f"{sum(known)} of {len(known)}"


def chat(sample: Any, view: Any, strength: float) -> None:
    """Erase each of `ERASED` and print which replies are still right."""
    tokenizer = sample.concepts.tokenizer

    def ask(model: Any, questions: list[Question]) -> list[str]:
        return complete(model, tokenizer, [q.text for q in questions], max_new_tokens=TOKENS, chat=True)

    rest = [q for group in OTHERS.values() for q in group]
    families = [family for family, group in OTHERS.items() for _ in group]
    own = [q for _, questions in ERASED.values() for q in questions]
    base = dict(zip([*own, *rest], ask(sample.model, [*own, *rest]), strict=True))
    print("| erased | its own questions | near neighbours | unrelated | degenerate, before → after |")
    print("|---|--:|--:|--:|--:|", flush=True)
    total: dict[str, list[tuple[bool, bool]]] = {"own": [], "near": [], "unrelated": []}
    loops: list[tuple[bool, bool]] = []
    shown, lost = [], []
    for concept, (family, questions) in ERASED.items():
        view.engram_edit.set(erase={concept: strength})
        asked = [*questions, *rest]
        edited = dict(zip(asked, ask(view, asked), strict=True))
        groups: dict[str, list[tuple[bool, bool]]] = {"own": [], "near": [], "unrelated": []}
        for question, place in zip(asked, ["own"] * len(questions) + families, strict=True):
            group = place if place == "own" else "near" if place == family else "unrelated"
            pair = question.right(base[question]), question.right(edited[question])
            groups[group].append(pair)
            if group != "own" and pair == (True, False):
                lost.append((concept, group, question.text, edited[question]))
        repeats = [(is_degenerate(base[q]), is_degenerate(edited[q])) for q in asked]
        loops += repeats
        for group, pairs in groups.items():
            total[group] += pairs
        cells = " | ".join(_share(groups[group]) for group in groups)
        print(f"| {concept} | {cells} | {_rate(repeats)} |", flush=True)
        first = questions[0]
        shown.append(f"| {first.text} | {_short(base[first])} | {_short(edited[first])} |")
    cells = " | ".join(_share(pairs) for pairs in total.values())
    print(f"| all | {cells} | {_rate(loops)} |")
    known = [q for q in base if q.right(base[q])]
    print(f"\nBefore, {len(known)} of {len(base)} questions were answered rightly.\n")
    print("| question | before | after |\n|---|---|---|")
    print("\n".join(shown))
    print("\nRight before and not after:\n\n| erased | | question | after |\n|---|---|---|---|")
    for concept, group, text, reply in lost:
        print(f"| {concept} | {group} | {text} | {_short(reply)} |")


def _rate(pairs: list[tuple[bool, bool]]) -> str:
    before, after = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    return f"{before:.2f} → {after:.2f}"


def events(sample: Any, view: Any, strength: float) -> None:
    """Erase each event and print the NLL of itself and of other events, before and after."""
    tokenizer, texts = sample.concepts.tokenizer, sample.concepts.texts
    held = json.loads((sample.folder / "held-out.json").read_text("utf-8"))
    near = TextConcept("near", tuple(TextItem(**row) for row in held["near"]["event"]))
    asked = TextSet((*(texts[name] for name in held["families"]["event"]), near))
    before = recall(sample.model, tokenizer, asked)
    print("\n| erased | itself, recorded | near neighbours (worst) | their recall, before → after | worst |")
    print("|---|--:|--:|--:|---|")
    for name in held["families"]["event"]:
        view.engram_edit.set(erase={name: strength})
        after = recall(view, tokenizer, asked)
        change = after.nll - before.nll
        own = change[(after.concept == name) & (after.split == "record")].mean()
        part = after.concept == "near"
        worst = after.loc[change[part].idxmax()]
        print(
            f"| {name} | {own:+.2f} | {change[part].mean():+.2f} ({change[part].max():+.2f}) | "
            f"{before[part].exact.mean():.2f} → {after[part].exact.mean():.2f} | "
            f"{worst.prompt} {worst.answer} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", help="chat, events; default both")
    parts = parser.parse_args().parts or ["chat", "events"]
    if unknown := set(parts) - {"chat", "events"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: chat, events")
    sample = ec.load_sample(NAME)
    start = json.loads((sample.folder / "explorer.json").read_text("utf-8"))
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    view: Any = atlas.sharpen(float(start["power"]), clip=start["clip"]).apply(
        sample.model, erase={next(iter(ERASED)): 0.0}
    )
    for part, run in (("events", events), ("chat", chat)):
        if part in parts:
            run(sample, view, float(start["strength"]))


if __name__ == "__main__":
    main()
