"""Whether the tests of the engrams' mathematics would notice a mistake: `make mutants`, into docs/mutants.md.

mutmut changes one thing at a time in engram_core/solving and engram_core/editing, and runs the tests of those
rooms that reach the changed function. A mutant that no test notices has survived: either it does what the
original does, or a test is missing. A whole run takes hours, so a sample is drawn with a seed.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import difflib
import importlib.metadata
import json
import os
import random
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "mutants.md"
JUDGED = ROOT / "docs" / "mutants.toml"
TOOL = ROOT / "build" / "mutmut"
ROOMS = ("engram_core/solving", "engram_core/editing")
_SLOW = 1 / 200  # of the time of all tests: one that takes more is run only for what its file is named for


@dataclass(frozen=True)
class Survivor:
    """A change that no test noticed.

    Attributes:
        function: where, as module and name: ``solving.filters.Sharpness.weights``.
        before: the line as it is.
        after: the line as it was changed to.
    """

    function: str
    before: str
    after: str

    @property
    def words(self) -> bool:
        """Whether only the wording of what is said to people was changed, or of a name within a string."""
        return _without_strings(self.before) == _without_strings(self.after)


def _without_strings(line: str) -> str:
    """Return a line's tokens with the text of strings taken out, or the line so if it is half of a string."""
    try:
        tokens = list(tokenize.generate_tokens(StringIO(line.strip()).readline))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return re.sub(r"([\"']).*?\1", "''", line.strip())
    return " ".join("''" if token.type == tokenize.STRING else token.string for token in tokens)


def mutmut(*arguments: str) -> None:
    """Run mutmut with the interpreter that runs this, from the folder that `make mutants` put it into."""
    # One thread: forked processes of a library that computes with several would wait for each other.
    environment = os.environ | {"PYTHONPATH": str(TOOL), "OMP_NUM_THREADS": "1", "CI": "true"}
    command = [sys.executable, str(TOOL / "bin" / "mutmut"), *arguments]
    if subprocess.run(command, cwd=ROOT, env=environment).returncode:
        raise SystemExit("mutmut did not finish; what it said stands above.")


def verdicts() -> dict[str, int | None]:
    """Return the exit code of the tests for each mutant, by its name; None where it was not tried."""
    found: dict[str, int | None] = {}
    for room in ROOMS:
        for path in sorted((ROOT / "mutants" / room).rglob("*.meta")):
            found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def drawn(names: Iterable[str], size: int, seed: int) -> list[str]:
    """Return a sample of the mutants, the same for the same seed and code; all of them for a size of 0.

    A larger sample holds the smaller one.
    """
    ordered = sorted(names)
    random.Random(seed).shuffle(ordered)
    return ordered[: size or None]


def function_of(mutant: str) -> str:
    """Return where a mutant is, as people write it: ``solving.filters.Sharpness.weights``."""
    path, _, _ = mutant.partition("__mutmut_")
    module, _, name = path.removeprefix("engram_core.").rpartition(".")
    return f"{module}.{name.removeprefix('x').replace('ǁ', '.').removeprefix('_').strip('.')}"


def widened(reached: Mapping[str, Iterable[str]], seconds: Mapping[str, float]) -> dict[str, list[str]]:
    """Return the tests to run for each function: its own file's, and the quick ones of files that reach it.

    What several tests share (a fixture of a module, a case that is built once) runs before the first of
    them alone, so that mutmut takes the others for tests that never reach it.

    Args:
        reached: function, as mutmut names it, and the tests that it saw reach it.
        seconds: all tests, and how long each takes.
    """
    by_file: dict[str, list[str]] = collections.defaultdict(list)
    for test in sorted(seconds):
        by_file[test.partition("::")[0]].append(test)
    slow = {test for test in seconds if seconds[test] > _SLOW * sum(seconds.values())}
    found = {}
    for function, names in reached.items():
        module = function.rpartition(".")[0].removeprefix("engram_core.")
        room, _, stem = module.rpartition(".")
        own = f"tests/{room.replace('.', '/')}/test_{stem}.py"
        files = {name.partition("::")[0] for name in names} | {own}
        tests = [test for file in sorted(files) for test in by_file[file]]
        found[function] = [test for test in tests if test not in slow or test.startswith(own)]
    return found


def widen() -> None:
    """Let mutmut run what `widened` says."""
    path = ROOT / "mutants" / "mutmut-stats.json"
    stats = json.loads(path.read_text(encoding="utf-8"))
    stats["tests_by_mangled_function_name"] = widened(
        stats["tests_by_mangled_function_name"], stats["duration_by_test"]
    )
    path.write_text(json.dumps(stats), encoding="utf-8")


def survivor(mutant: str) -> Survivor:
    """Read from mutmut's copy what was changed.

    Returns:
        The first line that differs, before and after.
    """
    path, _, name = mutant.rpartition(".")
    copy = ROOT / "mutants" / f"{path.replace('.', '/')}.py"
    spans = json.loads(Path(f"{copy}.spans").read_text(encoding="utf-8"))["spans"]
    lines = copy.read_text(encoding="utf-8").splitlines()
    plain = f"{name.partition('__mutmut_')[0]}__mutmut_orig"
    texts = []
    for each in (plain, name):
        first, last = spans[each]
        # The first line holds the name, which mutmut changes too.
        texts.append([line.replace(each, plain) for line in lines[first - 1 : last]])
    changes = [line for line in difflib.ndiff(*texts) if line[:2] in ("- ", "+ ")]
    before, after = (
        " ".join(line[2:].strip() for line in changes if line[:2] == sign) for sign in ("- ", "+ ")
    )
    return Survivor(function_of(mutant), before, after)


def judged(one: Survivor, known: list[dict[str, str]]) -> str:
    """Return the word on a survivor: docs/mutants.toml's, "wording", or that nobody has looked yet."""
    for entry in known:
        if re.fullmatch(entry["function"], one.function) and entry.get("change", "") in one.after:
            return entry["word"]
    return "wording" if one.words else "not judged yet"


def page(drawn_of: tuple[int, int], seed: int, codes: Mapping[str, int | None], seconds: float) -> str:
    """Return docs/mutants.md.

    Args:
        drawn_of: how many mutants were tried, and how many there are.
        seed: what they were drawn with.
        codes: mutant and what its tests ended with.
        seconds: of a processor, for all that were tried.
    """
    known = tomllib.loads(JUDGED.read_text(encoding="utf-8"))["judged"]
    said = collections.Counter(_VERDICT.get(code, "timed out or crashed") for code in codes.values())
    survived = [survivor(name) for name, code in sorted(codes.items()) if code in _SURVIVED]
    words = collections.Counter(judged(one, known) for one in survived)
    count, total = drawn_of
    whole = "all of them" if count == total else f"a sample of {count}, drawn with seed {seed}"
    noticed = count - said["survived"] - said["no test"]
    lines = [
        "# Mutants",
        "",
        "What `make mutants` found: mutmut changes one thing at a time in the rooms `engram_core/solving`",
        "and `engram_core/editing` and runs those rooms' own tests and the comparison with the reference. A",
        "change that no test notices has survived. This page is written by that command; the words on",
        "survivors are in `docs/mutants.toml`.",
        "",
        f"Measured on {datetime.date.today()} with mutmut {importlib.metadata.version('mutmut')}: "
        f"{total:,} mutants, {whole}; {seconds / max(count, 1):.0f} s of a processor each, so that all of "
        f"them take about {total * seconds / max(count, 1) / 3600:.0f} hours.",
        "",
        "| | mutants |",
        "| --- | ---: |",
        f"| noticed | {noticed} ({noticed / max(count, 1):.0%}) |",
        *(f"| of these {name} | {said[name]} |" for name in ("killed", "timed out or crashed")),
        *(f"| {name} | {said[name]} |" for name in ("survived", "no test") if said[name]),
        "",
        "mutmut leaves out functions with a decorator (properties, and what computes under `@exactly`),",
        "default values that are not plain, and the bodies of classes. A test that takes more than 1/200 of",
        "the time of all is run only for the module that its file is named for.",
        "",
        "## Survivors",
        "",
        *(f"* **{word}**: {number}. {_WORDS.get(word, '')}".rstrip() for word, number in words.most_common()),
        "",
    ]
    by_function: dict[str, list[Survivor]] = collections.defaultdict(list)
    for one in survived:
        by_function[one.function].append(one)
    for function, changes in sorted(by_function.items()):
        lines += [f"### {function}", "", "| as it is | as it was changed to | |", "| --- | --- | --- |"]
        lines += [f"| {_code(x.before)} | {_code(x.after)} | {judged(x, known)} |" for x in changes]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


_VERDICT = {0: "survived", 1: "killed", 3: "killed", 5: "no test", 33: "no test"}
_SURVIVED = (0, 5, 33)
_WORDS = {
    "wording": "Only the text of a message or of a progress line differs; tests look for its essential part.",
    "equivalent": "The changed code computes the same.",
    "speed": "The result is the same; it takes another way or another block size.",
    "tested since": "A test was written when this was found; the next run shows whether it notices.",
    "to be tested": "A test of these rooms should notice it.",
    "not judged yet": "Nobody has looked at these.",
}


def _code(line: str) -> str:
    """Return a line of code for a cell of a table."""
    shown = line if len(line) <= 160 else f"{line[:159]}…"
    return f"`` {shown.replace('|', chr(92) + '|')} ``"


def _computed() -> float:
    """Return the processor's seconds of all that was run: a clock would count who else is at work here."""
    used = os.times()
    return used.children_user + used.children_system


def main() -> None:
    """Draw, try, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m docs.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, metavar="N", help="how many to try; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--processes", type=int, default=1, help="how many to try at a time")
    parser.add_argument("--only-page", action="store_true", help="write the page from what was tried last")
    chosen = parser.parse_args()
    sys.path.insert(0, str(TOOL))
    record = ROOT / "mutants" / "sample.json"
    if not chosen.only_page:
        # Makes all mutants, sees which tests reach which function, and tries those of the smallest file.
        mutmut("run", "--max-children", str(chosen.processes), "engram_core.solving.choosing.*")
        widen()
        names = drawn(verdicts(), chosen.sample, chosen.seed)
        before = _computed()
        mutmut("run", "--max-children", str(chosen.processes), *names)
        facts = {"names": names, "seed": chosen.seed, "seconds": _computed() - before}
        record.write_text(json.dumps(facts), encoding="utf-8")
    facts = json.loads(record.read_text(encoding="utf-8"))
    codes = verdicts()
    tried = {name: codes[name] for name in facts["names"] if codes.get(name) is not None}
    if len(tried) < len(facts["names"]):
        raise SystemExit("Not every mutant that was drawn has been tried. Run it again without --only-page.")
    PAGE.write_text(page((len(tried), len(codes)), facts["seed"], tried, facts["seconds"]), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
