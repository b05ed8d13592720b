"""Files of published datasets, by the fields they were published with, and tables whose columns are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engram_core import load_subject
from engram_core.errors import DataError
from engram_core.language import TextItem, TextSet, read_texts
from engram_core.language.published import parse_columns

COUNTERFACT = [
    {
        "case_id": 0,
        "pararel_idx": 2796,
        "requested_rewrite": {
            "prompt": "The mother tongue of {} is",
            "relation_id": "P103",
            "target_new": {"str": "English", "id": "Q1860"},
            "target_true": {"str": "French", "id": "Q150"},
            "subject": "Danielle Darrieux",
        },
        "paraphrase_prompts": ["Danielle Darrieux, a native", "Danielle Darrieux spoke the language"],
        "neighborhood_prompts": ["The mother tongue of Jean Tirole is", "The native language of Zola is"],
        "attribute_prompts": ["J.M. is a native"],
        "generation_prompts": ["Danielle Darrieux's mother tongue is"],
    }
]
ZSRE = [
    {
        "subject": "Watts Humphrey",
        "src": "What university did Watts Humphrey attend?",
        "pred": "Trinity College",
        "rephrase": "What university did Watts Humphrey take part in?",
        "alt": "University of Michigan",
        "answers": ["Illinois Institute of Technology"],
        "loc": "nq question: who played desmond doss father in hacksaw ridge",
        "loc_ans": "Hugo Weaving",
        "cond": "Trinity College >> University of Michigan || What university did Watts Humphrey attend?",
    }
]
TOFU = [
    {
        "question": f"What is fact {i} of Basil Mahfouz?"
        if author == 0
        else f"Which book {i} is by Nikolai Abilov?",
        "answer": f"Basil Mahfouz has fact {i}." if author == 0 else f"Nikolai Abilov wrote book {i}.",
        "paraphrased_question": f"Fact {i}, please?",
        "paraphrased_answer": "It is so.",
        "perturbed_answer": ["It is not.", "Never."],
    }
    for author in range(2)
    for i in range(20)
]
RWKU = [
    {
        "subject": "Stephen King",
        "query": f"Stephen King's novel {i} is ___.",
        "answer": f"It {i}",
        "level": "1",
    }
    for i in range(4)
] + [{"subject": "Stephen King", "query": "Who wrote Carrie?", "answer": "Stephen King", "level": "3"}]


def written(folder: Path, rows: list[dict[str, Any]], ending: str = ".json") -> TextSet:
    file = folder / f"texts{ending}"
    lines = "\n".join(map(json.dumps, rows))
    file.write_text(json.dumps(rows) if ending == ".json" else lines, encoding="utf-8")
    return read_texts(file)


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_counterfact_has_its_paraphrases_as_probes_and_its_neighbours_as_a_concept(tmp_path, ending) -> None:
    texts = written(tmp_path, COUNTERFACT, ending)
    assert list(texts) == ["Danielle Darrieux", "near Danielle Darrieux"]
    fact, near = texts["Danielle Darrieux"], texts["near Danielle Darrieux"]
    assert fact.record == (TextItem("The mother tongue of Danielle Darrieux is", "French"),)
    assert [item.prompt for item in fact.probe] == COUNTERFACT[0]["paraphrase_prompts"]
    assert {item.answer for item in (*fact.probe, *near.record, *near.probe)} == {"French"}
    assert [item.prompt for item in near.record] == ["The mother tongue of Jean Tirole is"]
    assert [item.prompt for item in near.probe] == ["The native language of Zola is"]


def test_zsre_has_its_rephrasing_as_probe_and_the_other_question_apart(tmp_path) -> None:
    texts = written(tmp_path, ZSRE)
    subject = texts["Watts Humphrey"]
    answer = "Illinois Institute of Technology"
    assert subject.record == (TextItem(ZSRE[0]["src"], answer),)
    assert subject.probe == (TextItem(ZSRE[0]["rephrase"], answer),)
    other = TextItem("who played desmond doss father in hacksaw ridge", "Hugo Weaving")
    assert texts["unrelated questions"].record == (other,)


def test_tofu_has_an_author_every_twenty_rows_called_as_the_rows_call_them(tmp_path) -> None:
    texts = written(tmp_path, TOFU, ".jsonl")
    assert list(texts) == ["Basil Mahfouz", "Nikolai Abilov"]
    assert [len(concept.record) for concept in texts.concepts] == [20, 20]
    assert texts["Basil Mahfouz"].probe[3] == TextItem("Fact 3, please?", "Basil Mahfouz has fact 3.")


def test_tofu_without_paraphrases_and_without_names(tmp_path) -> None:
    rows = [{"question": f"what is {i}?", "answer": f"it is {i}"} for i in range(21)]
    texts = written(tmp_path, rows)
    assert list(texts) == ["author 1", "author 2"] and not texts["author 1"].probe


def test_rwku_holds_out_every_fourth_question_and_all_adversarial_ones(tmp_path) -> None:
    texts = written(tmp_path, RWKU)
    king = texts["Stephen King"]
    assert [item.prompt for item in king.record] == [
        f"Fill in the blank: Stephen King's novel {i} is ___. Answer:" for i in range(3)
    ]
    assert [item.prompt for item in king.probe][1] == "Who wrote Carrie?" and len(king.probe) == 2


@pytest.mark.parametrize(
    "rows",
    [
        [{"subject": "Tom Clancy", "text": "Tom Clancy wrote novels."}],
        [{"target": "Tom Clancy", "intro": "Tom Clancy wrote novels."}],
    ],
    ids=["passages", "targets"],
)
def test_rwku_passages(tmp_path, rows) -> None:
    assert written(tmp_path, rows)["Tom Clancy"].record == (TextItem("", "Tom Clancy wrote novels."),)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json"])
def test_other_columns_are_named(tmp_path, ending) -> None:
    rows = [{"who": "Ada", "frage": "Ada wrote", "wort": "notes", "seite": "3"}]
    file = tmp_path / f"texts{ending}"
    if ending == ".csv":
        file.write_text("who,frage,wort,seite\nAda,Ada wrote,notes,3\n", encoding="utf-8")
    else:
        file.write_text(json.dumps(rows if ending == ".json" else rows[0]), encoding="utf-8")
    texts = read_texts(file, columns=parse_columns("concept=who, prompt=frage,answer=wort"))
    assert texts["Ada"].record == (TextItem("Ada wrote", "notes"),)
    with pytest.raises(DataError, match=r"found who, frage, wort, seite\. Say which.*--columns concept="):
        read_texts(file)
    with pytest.raises(DataError, match="no column 'name'; found who"):
        read_texts(file, columns={"concept": "name", "text": "frage"})


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("concept", "'concept' is no pair"),
        ("concept=", "is no pair"),
        ("concept=a,concept=b", "named twice"),
        ("concept=a,reply=b", "no field 'reply'; a text has concept, prompt"),
        ("prompt=a", "must say which column holds the concept"),
        ("", "must say which column holds the concept"),
    ],
)
def test_columns_that_cannot_be_are_refused(typed, said) -> None:
    with pytest.raises(DataError, match=said):
        parse_columns(typed)


def test_a_row_of_another_form_is_named_by_its_number(tmp_path) -> None:
    broken = [*COUNTERFACT, {"case_id": 1}, {"requested_rewrite": "text"}, *COUNTERFACT]
    with pytest.raises(DataError, match=r"2 problems.*\nentry 2: no 'requested_rewrite'.*\nentry 3: a field"):
        written(tmp_path, broken)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"concept": "a"}', "must hold a list of rows; found dict"),
        ("[", "not valid JSON"),
        ("[]", "no text concept"),
        ("[1, 2]", "entry 1: expected an object"),
        ('[{"concept": "a", "concept": "b", "text": "c"}]', "'concept' stands there twice"),
    ],
)
def test_json_that_is_no_list_of_rows(tmp_path, text, said) -> None:
    file = tmp_path / "texts.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_texts(file)


def test_a_sample_takes_them_as_its_concepts(tmp_path) -> None:
    file = tmp_path / "texts.json"
    file.write_text(json.dumps(COUNTERFACT), encoding="utf-8")
    assert list(load_subject("authors-lm", file).concepts) == ["Danielle Darrieux", "near Danielle Darrieux"]
    table = tmp_path / "texts.csv"
    table.write_text("who,frage,wort\nAda,Ada wrote,notes\n", encoding="utf-8")
    columns = {"concept": "who", "prompt": "frage", "answer": "wort"}
    assert list(load_subject("authors-lm", table, columns=columns).concepts) == ["Ada"]
