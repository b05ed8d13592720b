"""Names are data on the command line: any can be chosen, and is printed letter by letter."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from language_helpers import byte_tokenizer, tiny

from engram_core import cli
from engram_core.commands import printing, progress_bar
from engram_core.commands.names import concept_strengths, names_in
from engram_core.commands.printing import PlainConsole, plain
from engram_core.commands.subject import check_known
from engram_core.errors import EngramError, UnknownNameError

NAMES = [
    "[/INST]", "[bold]x[/bold]", "[link=file:///etc]y[/link]", ":smile:", "a, b", "a", "b", "a=1", "a=b", "=",
    "-dash", "--json", "C:\\d,e", "\x1b[31mred\x1b[0m", "{task.description}", "%s", "re:a", "sky\u202eblue",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "[little]"
    tiny("llama").save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    rows = [{"concept": name, "prompt": f"{i} is", "answer": f"{i * 7}"} for i, name in enumerate(NAMES)]
    (path / "facts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def engram(folder, monkeypatch, capfd):
    """Run a command on the model with those names, as the installed script does."""
    monkeypatch.setattr(printing.out_console, "_width", 400)
    monkeypatch.setattr(printing.err_console, "_width", 400)

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        texts = ["--texts", str(folder / "facts.jsonl")]
        monkeypatch.setattr(sys, "argv", ["engram", command, str(folder), *texts, *arguments])
        capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capfd.readouterr()
        return code, told.out, told.err

    return run


def test_every_name_can_be_erased_and_kept(engram) -> None:
    strengths = {name: 0.1 * i for i, name in enumerate(NAMES, start=1)}
    code, out, err = engram("erase", "--json", "--", *(f"{name}={s}" for name, s in strengths.items()))
    assert code == 0, err
    assert json.loads(out)["erased"] == pytest.approx(strengths)
    code, out, err = engram("erase", "--json", *(f"--keep={name}" for name in NAMES))
    assert code == 0, err
    assert list(json.loads(out)["kept"]) == NAMES


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("extract", ()),
        ("erase", ("--", *NAMES)),
        ("map", ()),
        ("map", ("--of", "engrams")),
        ("record", ("--out", "OUT")),
    ],
)
def test_tables_show_every_name_as_it_is(engram, tmp_path, command: str, arguments: tuple) -> None:
    out_file = str(tmp_path / "r.safetensors")
    code, out, err = engram(command, *(out_file if a == "OUT" else a for a in arguments))
    assert code == 0, err
    assert "\x1b" not in out and "\u202e" not in out
    if command != "record":  # whose table is of layers
        assert [name for name in NAMES if plain(name) not in out] == []


def test_asking_prints_prompt_and_tokens_as_they_are(engram, folder) -> None:
    code, out, err = engram("ask", "[/INST] :smile:", "--max-new-tokens", "2", "--", "[/INST]")
    assert code == 0, err
    assert out.count("[/INST] :smile:") == 2 and str(folder) not in err


def test_a_bar_shows_what_it_is_told(monkeypatch, capfd) -> None:
    monkeypatch.setattr(
        progress_bar, "err_console", PlainConsole(stderr=True, force_terminal=True, width=200)
    )
    ticks = iter(range(0, 10**6, 2))
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: next(ticks))
    with progress_bar.bar_of_progress() as bar:
        bar(1, 3, "recording [/INST] \x1b[31m")
    assert "recording [/INST] \\x1b[31m" in capfd.readouterr().err


def test_an_unknown_name_is_quoted_in_one_sentence(engram) -> None:
    for arguments in (
        ("erase", "--", "[/INSD]"),
        ("map", "--erase=[/nothing like it]"),
        ("criteria", "--concepts=\x1b]0;title\x07"),
        ("ask", "prompt", "half \udc80"),
    ):
        code, out, err = engram(*arguments)
        assert (code, out) == (2, "") and err.startswith("Error: Unknown concept ") and "\x1b" not in err


def test_a_name_is_found_as_it_stands_before_it_is_read_as_anything_else() -> None:
    known = {"a", "a=1", "b", "a=b", "=", "-x"}
    found = concept_strengths(["a", "a=1", "a=b=2", "==-1", "-x=.5", "b=1e-1"], 1.0, known)
    assert found == {"a": 1.0, "a=1": 1.0, "a=b": 2.0, "=": -1.0, "-x": 0.5, "b": 0.1}
    for term, told in {
        "a=much": "must be a number",
        "a=": "must be a number",
        "c=1": "'c'",
        "c=d": "'c=d'",
    }.items():
        with pytest.raises(EngramError, match=told):
            concept_strengths([term], 1.0, known)
    with pytest.raises(EngramError, match="two strengths"):
        concept_strengths(["a", "a=2"], 1.0, known)


def test_a_name_is_found_however_its_letters_are_put_together() -> None:
    typed, stored = "caf\u00e9", "cafe\u0301"
    for term, name in ((typed, stored), (stored, typed)):
        assert concept_strengths([term, f"x{term}=2"], 1.0, [name, f"x{name}"]) == {
            name: 1.0,
            f"x{name}": 2.0,
        }
        assert names_in(f"b,{term}, {term}", ["b", name]) == ["b", name]
        assert check_known([term], [name]) == [name]
    both = [typed, stored]
    assert names_in(both, both) == both
    with pytest.raises(UnknownNameError):
        names_in("cafe", both)


def test_a_comma_belongs_to_a_name_where_there_is_such_a_name() -> None:
    known = ["a", "b", "a, b", "c,", ",", "d\\", "e, f, g"]
    cases: dict[Any, list[str]] = {
        "a,b": ["a", "b"], " a , b ": ["a", "b"], "a, b": ["a, b"], "a,a, b": ["a", "a, b"],
        "c,,a": ["c,", "a"], ",": [","], "d\\": ["d\\"], "e, f, g,b": ["e, f, g", "b"],
        "a\\, b,b": ["a, b", "b"], ("a", "b,a"): ["a", "b"], "": [], "a,,b": ["a", ",", "b"],
    }  # fmt: skip
    assert {text: names_in(text, known) for text in cases} == cases | {"a,,b": names_in("a,,b", known)}
    with pytest.raises(UnknownNameError, match="'f'"):
        names_in("a, f", known)


def test_names_with_commas_can_be_measured_alone(engram) -> None:
    code, out, err = engram(
        "criteria", "--controls", "0", "--json", "--concepts", "a, b,[/INST]", "--concepts=--json"
    )
    assert code == 0, err
    assert list(json.loads(out)["necessity"]["matrix"]) == ["a, b", "[/INST]", "--json"]


def test_layers_of_a_folder_need_no_concepts(engram, folder, monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["engram", "layers", str(folder)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code and "model.layers.1.mlp.up_proj" in capfd.readouterr().out
