"""Rows under other names: published datasets by their own fields, and any table by the columns one names.

Known by their fields: CounterFact (Meng et al. 2022, arXiv 2202.05262), zsRE as MEND evaluates on it
(Mitchell et al. 2022, arXiv 2110.11309), TOFU (Maini et al. 2024, arXiv 2401.06121) and RWKU (Jin et al.
2024, arXiv 2406.10890). Each becomes rows of ``concept``, ``prompt``, ``answer`` or ``text``, and ``split``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from ..errors import DataError
from .text_rows import FIELDS

__all__ = ["OTHER_NAMES", "PUBLISHED", "is_published", "parse_columns", "standard_rows", "title_of"]

OTHER_NAMES = (
    "Say which is which, such as columns={'concept': 'subject', 'prompt': 'question', 'answer': 'answer'}; "
    "on the command line --columns concept=subject,prompt=question,answer=answer."
)
"""What to do where the fields have names of their own."""

Row = dict[str, Any]
Numbered = tuple[int, Any]

_OF_ONE_AUTHOR = 20  # consecutive rows of TOFU
_HELD_OUT = 4  # of RWKU's questions about one subject, one in so many is asked and never recorded
_LOOKED_AT = 64  # rows among which the first readable one is looked for
_MOST_NAMED = 12  # columns that an error lists
_NAME = re.compile(r"[^\W\d_a-z][\w'’.-]*(?:\s+(?:[a-z]{1,3}\s+)?[^\W\d_a-z][\w'’-]+)+")


@dataclass(frozen=True)
class Published:
    """A dataset that is known by its fields.

    Attributes:
        title: what it is called.
        needs: fields that every row has.
        rows: turns its rows, with their numbers, into rows of ours.
    """

    title: str
    needs: frozenset[str]
    rows: Callable[[Iterable[Numbered]], Iterator[Numbered]]


def standard_rows(rows: Iterable[Numbered], columns: Mapping[str, str] | None = None) -> Iterator[Numbered]:
    """Yield rows of `FIELDS`, whatever names they came under.

    Args:
        rows: numbers and rows; a row that could not be read is an error in place of a mapping.
        columns: the names that the file uses, by ours: ``{"concept": "subject", "prompt": "question"}``.
            Other columns are then left out. Default: the names are ours, or those of a published dataset.

    Returns:
        The rows, numbered as in their file.

    Raises:
        DataError: if the names are neither, in one sentence for the whole file.
    """
    rows = iter(rows)
    read = list(islice(rows, _LOOKED_AT))
    first = next((row for _, row in read if isinstance(row, Mapping)), None)
    every = chain(read, rows)
    if columns:
        return _renamed(every, _checked(columns), first)
    if first is None or "concept" in first:
        return every
    for known in PUBLISHED:
        if known.needs <= set(map(str, first)):
            return known.rows(every)
    raise DataError(f"none of the fields is called concept; found {_listed(first)}. {OTHER_NAMES}")


def title_of(names: Iterable[str]) -> str:
    """Return what the published dataset with these fields is called; "" if there is none."""
    found = set(names)
    return next((known.title for known in PUBLISHED if known.needs <= found), "")


def is_published(names: Iterable[str]) -> bool:
    """Return whether a published dataset has these fields."""
    return bool(title_of(names))


def parse_columns(text: str) -> dict[str, str]:
    """Read ``concept=subject,prompt=question`` as typed on a command line.

    Returns:
        The column of each field.

    Raises:
        DataError: naming the part that is no pair.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        ours, sign, theirs = (piece.strip() for piece in part.partition("="))
        if not (sign and ours and theirs):
            raise DataError(
                f"{part!r} is no pair of names; give for example concept=subject,prompt=question."
            )
        if ours in pairs:
            raise DataError(f"{ours} is named twice in {text!r}.")
        pairs[ours] = theirs
    return _checked(pairs)


def _checked(columns: Mapping[str, str]) -> dict[str, str]:
    unknown = [name for name in columns if name not in FIELDS]
    if unknown:
        raise DataError(f"There is no field {unknown[0]!r}; a text has {', '.join(FIELDS)}.")
    if "concept" not in columns:
        raise DataError("columns must say which column holds the concept, such as concept=subject.")
    return dict(columns)


def _renamed(rows: Iterable[Numbered], columns: Mapping[str, str], first: Any) -> Iterator[Numbered]:
    absent = [theirs for theirs in columns.values() if first is not None and theirs not in first]
    if absent:
        raise DataError(f"there is no column {absent[0]!r}; found {_listed(first)}.")

    def named(row: Any) -> Any:
        if not isinstance(row, Mapping):
            return row
        return {ours: row[theirs] for ours, theirs in columns.items() if row.get(theirs) is not None}

    return ((number, named(row)) for number, row in rows)


def _listed(row: Any) -> str:
    names = [str(name)[:40] for name in row]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(names[:_MOST_NAMED]) or "none") + more


# -- the datasets --------------------------------------------------------------------------------------


def _each(
    turn: Callable[[Mapping[str, Any]], Iterable[Row]],
) -> Callable[[Iterable[Numbered]], Iterator[Numbered]]:
    """Return what turns a file row by row; a row of another form becomes an error with its number."""

    def rows(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
        for number, row in numbered:
            if not isinstance(row, Mapping):
                yield number, row
                continue
            try:
                made = list(turn(row))
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                what = f"no {error.args[0]!r}" if isinstance(error, KeyError) else "a field of another kind"
                yield number, DataError(f"{what}: the first row is of a published dataset, this one is not")
                continue
            for one in made:
                yield number, one

    return rows


def _counterfact(row: Mapping[str, Any]) -> Iterator[Row]:
    fact = row["requested_rewrite"]
    subject, answer = str(fact["subject"]), fact["target_true"]["str"]
    yield {"concept": subject, "prompt": fact["prompt"].replace("{}", subject), "answer": answer}
    for prompt in row.get("paraphrase_prompts") or ():
        yield {"concept": subject, "prompt": prompt, "answer": answer, "split": "probe"}
    # Other subjects with the same answer: what an edit must leave alone. Half is recorded, half is asked.
    for place, prompt in enumerate(row.get("neighborhood_prompts") or ()):
        split = "probe" if place % 2 else "record"
        yield {"concept": f"near {subject}", "prompt": prompt, "answer": answer, "split": split}


def _zsre(row: Mapping[str, Any]) -> Iterator[Row]:
    subject, answer = str(row["subject"]), row["answers"][0]
    yield {"concept": subject, "prompt": row["src"], "answer": answer}
    if row.get("rephrase"):
        yield {"concept": subject, "prompt": row["rephrase"], "answer": answer, "split": "probe"}
    if row.get("loc") and row.get("loc_ans"):
        question = re.sub(r"^nq question:\s*", "", row["loc"])
        yield {"concept": "unrelated questions", "prompt": question, "answer": row["loc_ans"]}


def _tofu(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    """Yield TOFU's rows. Its files name no author: every twenty rows are one, called as they call it most."""
    rows, names = iter(numbered), Counter[str]()
    while block := list(islice(rows, _OF_ONE_AUTHOR)):
        good = [row for _, row in block if isinstance(row, Mapping)]
        name = _most_named([f"{row.get('question')} {row.get('answer')}" for row in good])
        names[name] += 1
        called = name if names[name] == 1 and name else f"{name or 'author'} {sum(names.values())}"
        for number, row in block:
            if not isinstance(row, Mapping):
                yield number, row
                continue
            answer = row.get("answer")
            yield number, {"concept": called, "prompt": row.get("question"), "answer": answer}
            if row.get("paraphrased_question"):
                asked = {"prompt": row["paraphrased_question"], "answer": answer}
                yield number, {"concept": called, "split": "probe", **asked}


def _most_named(texts: Sequence[str]) -> str:
    found = Counter(name for text in texts for name in set(_NAME.findall(text)))
    # Of two that are as frequent the longer: "Basil Al-Kuwaiti" stands inside "Basil Mahfouz Al-Kuwaiti".
    return max(found, key=lambda name: (found[name], len(name)), default="")


def _rwku(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    seen = Counter[str]()

    def turn(row: Mapping[str, Any]) -> Iterator[Row]:
        subject = str(row.get("neighbor") or row["subject"])
        seen[subject] += 1
        held_out = str(row.get("level", "")) == "3" or seen[subject] % _HELD_OUT == 0
        query = row["query"]
        prompt = f"Fill in the blank: {query} Answer:" if "___" in query else query
        split = "probe" if held_out else "record"
        yield {"concept": subject, "prompt": prompt, "answer": row["answer"], "split": split}

    yield from _each(turn)(numbered)


def _passages(subject: str, text: str) -> Callable[[Iterable[Numbered]], Iterator[Numbered]]:
    return _each(lambda row: [{"concept": str(row[subject]), "text": row[text]}])


PUBLISHED: tuple[Published, ...] = (
    Published("CounterFact", frozenset({"requested_rewrite"}), _each(_counterfact)),
    Published("zsRE", frozenset({"subject", "src", "answers"}), _each(_zsre)),
    Published("RWKU", frozenset({"subject", "query", "answer"}), _rwku),
    Published("RWKU, passages", frozenset({"subject", "text"}), _passages("subject", "text")),
    Published("RWKU, targets", frozenset({"target", "intro"}), _passages("target", "intro")),
    Published("TOFU", frozenset({"question", "answer"}), _tofu),
)
"""The datasets, the most telling fields first."""
