"""The sample language models: what ships is what was measured, with plain transformers alone."""

import hashlib
import importlib.util
import json
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from engram_core.language.text_files import read_texts

ROOT = Path(__file__).resolve().parents[2] / "sample_models"
NAMES = ["authors-lm", "facts-lm"]


class Shipped:
    """A sample's folder, read as anybody with transformers would read it."""

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, ROOT / name
        self.config, self.metrics = (
            json.loads((self.folder / file).read_text(encoding="utf-8"))
            for file in ("config.json", "metrics.json")
        )
        lines = (self.folder / "texts.jsonl").read_text(encoding="utf-8").splitlines()
        self.rows: list[dict[str, str]] = [json.loads(line) for line in lines]
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(self.folder / "tokenizer.json"),
            clean_up_tokenization_spaces=False,
            **self.config["special_tokens"],
        )
        with torch.random.fork_rng(devices=[]):
            self.model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**self.config["model"]))
        found = self.model.load_state_dict(load_file(self.folder / "model.safetensors"), strict=False)
        assert found.missing_keys == ["lm_head.weight"] and not found.unexpected_keys
        self.model.tie_weights()
        self.model.eval()

    def part(self, split: str) -> list[dict[str, str]]:
        return [row for row in self.rows if row["split"] == split]

    def relation(self, row: dict[str, str]) -> str:
        """Find the relation by the phrasing, as texts.jsonl does not name it."""
        module = trainer(self.name)
        tables = [getattr(module, key) for key in dir(module) if key.endswith("RELATIONS")]
        frames = {
            form.format("\0", c="\0", C="\0"): name
            for table in tables
            for name, forms in table.items()
            for form in forms
        }
        concept = row["concept"]
        for subject in (f"the {concept}", f"The {concept}", concept):
            if row["prompt"].replace(subject, "\0", 1) in frames:
                return frames[row["prompt"].replace(subject, "\0", 1)]
        raise AssertionError(f"no phrasing of train.py gives {row['prompt']!r}")


@pytest.fixture(scope="module", params=NAMES)
def sample(request: pytest.FixtureRequest) -> Shipped:
    return Shipped(request.param)


def load_module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def trainer(name: str) -> ModuleType:
    key = f"train_{name.replace('-', '_')}"
    return sys.modules.get(key) or load_module(key, ROOT / name / "train.py")


def training() -> ModuleType:
    return sys.modules.get("training") or load_module("training", ROOT / "training.py")


def recalled(sample: Shipped, rows: list[dict[str, str]]) -> list[bool]:
    """Whether each answer's tokens are all the likeliest ones: what greedy decoding answers."""
    prompts = sample.tokenizer([row["prompt"] for row in rows])["input_ids"]
    texts = [f"{row['prompt']} {row['answer']}" for row in rows]
    hits = []
    for start in range(0, len(rows), 256):
        batch = sample.tokenizer(texts[start : start + 256], padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = sample.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
            ).logits
        right = logits[:, :-1].argmax(-1) == batch["input_ids"][:, 1:]
        lengths = batch["attention_mask"].sum(1)
        for row, length in enumerate(lengths.tolist()):
            first = len(prompts[start + row])
            assert first < length
            hits.append(bool(right[row, first - 1 : length - 1].all()))
    return hits


# What the models know


@pytest.mark.parametrize(("split", "least"), [("record", 0.99), ("probe", 0.90)])
def test_recall_is_good_and_the_one_written_down(sample: Shipped, split: str, least: float) -> None:
    rows, measured = sample.part(split), sample.metrics[split]
    hits = recalled(sample, rows)
    assert measured["size"] == len(rows)
    assert np.mean(hits) >= least and measured["recall"] >= least
    # Another processor may round a tie the other way.
    assert np.mean(hits) == pytest.approx(measured["recall"], abs=2 / len(rows) + 1e-4)
    found: dict[str, list[bool]] = {}
    for row, hit in zip(rows, hits, strict=True):
        found.setdefault(sample.relation(row), []).append(hit)
    assert set(found) == set(measured["per_relation"])
    for name, share in measured["per_relation"].items():
        assert np.mean(found[name]) == pytest.approx(share, abs=2 / len(found[name]) + 1e-4)


def test_generate_says_the_answer_and_stops(sample: Shipped) -> None:
    """The measure above is teacher-forced; this is what a user does."""
    rows = [row for row, hit in zip(sample.rows, recalled(sample, sample.rows), strict=True) if hit]
    said = []
    chosen = rows[:: len(rows) // 12]
    for row in chosen:
        inputs = sample.tokenizer(row["prompt"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            tokens = sample.model.generate(
                inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=24
            )
        ended = tokens[0, -1] == sample.tokenizer.eos_token_id
        text = sample.tokenizer.decode(tokens[0, inputs.shape[1] :], skip_special_tokens=True)
        assert text.startswith(" " + row["answer"]), text
        said.append(bool(ended) and text.strip() in (row["answer"], row["answer"] + "."))
    assert np.mean(said) >= 0.9
    for split in ("record", "probe"):
        assert sample.metrics[split]["ended"] >= sample.metrics[split]["recall"] - 0.02


def test_answers_come_from_the_subject(sample: Shipped) -> None:
    """A control for the measure: the same prompts with another concept's answers are not recalled."""
    rows = sample.part("probe")
    other = rows[len(rows) // 2 :] + rows[: len(rows) // 2]
    wrong = [
        {**row, "answer": away["answer"]} for row, away in zip(rows, other, strict=True)
        if away["answer"] != row["answer"]
    ]  # fmt: skip
    assert np.mean(recalled(sample, wrong)) < 0.02


# The texts


def test_texts_are_valid(sample: Shipped) -> None:
    texts = read_texts(sample.folder / "texts.jsonl")
    assert len(texts) == sample.metrics["concepts"] == len({row["concept"] for row in sample.rows})
    assert not texts.background and sample.config["data"]["background"] is None
    for split in ("record", "probe"):
        items = [item for concept in texts.concepts for item in getattr(concept, split)]
        assert len(items) == sample.metrics[split]["size"]
        assert [f"{row['prompt']} {row['answer']}" for row in sample.part(split)] == [
            item.text for item in items
        ]
    for concept in texts.concepts:
        assert len(concept.record) >= 7 and concept.probe
        assert all(item.is_fact and item.prompt == item.prompt.strip() for item in concept.record)


def test_no_probe_was_recorded(sample: Shipped) -> None:
    texts = Counter(f"{row['prompt']} {row['answer']}" for row in sample.rows)
    assert max(texts.values()) == 1
    prompts = {row["prompt"] for row in sample.part("record")}
    assert not prompts & {row["prompt"] for row in sample.part("probe")}


def test_every_held_out_fact_is_recorded_in_other_phrasings(sample: Shipped) -> None:
    count = Counter((row["concept"], sample.relation(row), row["split"]) for row in sample.rows)
    for concept, relation, split in list(count):
        if split == "probe":
            assert count[concept, relation, "probe"] == 1
            assert count[concept, relation, "record"] == 3


def test_every_phrasing_is_held_out_for_some_and_recorded_for_most() -> None:
    hold_out = training().hold_out
    for facts, phrasings, count in [(6, 4, 2), (4, 4, 2), (2, 4, 1)]:
        chosen = [hold_out(index, facts, phrasings, count) for index in range(100)]
        assert all(len(pairs) == count == len({fact for fact, _ in pairs}) for pairs in chosen)
        often = Counter(pair for pairs in chosen for pair in pairs)
        assert set(often) == {(fact, form) for fact in range(facts) for form in range(phrasings)}
        assert max(often.values()) < 20


def test_known_facts() -> None:
    rows = {(row["prompt"], row["answer"]) for row in Shipped("facts-lm").rows}
    assert {
        ("The capital of France is", "Paris"),
        ("The capital of the United States is", "Washington D.C."),
        ("The Netherlands is a country in", "Europe"),
        ("The currency of Japan is the", "yen"),
        ("An official language of Brazil is", "Portuguese"),
        ("The chemical symbol of gold is", "Au"),
        ("The atomic number of iron is", "26"),
    } <= rows


# Made again


def test_authors_are_invented_again() -> None:
    made = training().texts_bytes(trainer("authors-lm").statements())
    assert made == (ROOT / "authors-lm" / "texts.jsonl").read_bytes()


def test_authors_differ() -> None:
    authors = trainer("authors-lm").invent(100, 0)
    assert len(authors) == 100
    people = [*authors, *(facts["teacher"] for facts in authors.values())]
    assert len({name.split()[1] for name in people}) == 200, "a surname repeats"
    assert len({facts["first book"] for facts in authors.values()}) == 100
    for relation, most in [("birthplace", 2), ("genre", 4), ("award", 2), ("pet", 2)]:
        assert set(Counter(facts[relation] for facts in authors.values()).values()) == {most}
    assert trainer("authors-lm").invent(100, 1) != authors


@pytest.mark.parametrize("found", [None, "0.1"])
def test_facts_say_what_to_install(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(package: str) -> str:
        if found is None:
            raise PackageNotFoundError(package)
        return found

    module = trainer("facts-lm")
    monkeypatch.setattr(module, "version", look)
    with pytest.raises(SystemExit, match="countryinfo") as caught:
        module.statements()
    for package, number in module.SOURCES.items():
        assert f"{package}=={number}" in str(caught.value)
    assert "pip install --no-deps" in str(caught.value)


# Tokens


def test_tokens_part_where_the_answer_begins(sample: Shipped) -> None:
    """So that counted positions are the answer's, and nothing of the prompt's."""
    Statement = training().Statement
    for row in sample.rows:
        statement = Statement(relation="", **row)
        prompt, text, sentence = (
            sample.tokenizer(part)["input_ids"]
            for part in (statement.prompt, statement.text, statement.sentence)
        )
        assert text[: len(prompt)] == prompt and len(text) > len(prompt)
        assert sentence[: len(text)] == text and len(sentence) <= len(text) + 1
        assert sample.tokenizer.decode(sentence) == " " + statement.sentence


def test_a_name_is_the_same_tokens_wherever_it_stands(sample: Shipped) -> None:
    for name in list(dict.fromkeys(row["concept"] for row in sample.rows))[::10]:
        alone = sample.tokenizer(name)["input_ids"]
        assert sample.tokenizer(f"The {name} is")["input_ids"][1:-1] == alone


def test_special_tokens(sample: Shipped) -> None:
    tokenizer, config = sample.tokenizer, sample.model.config
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (config.pad_token_id, config.eos_token_id)
    assert tokenizer.bos_token is None and config.bos_token_id is None
    assert len(tokenizer) == config.vocab_size
    # Byte level: there is no text it cannot hold.
    for text in (" Ωmega 日本 🙂", " 12,5 %"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


# What ships


def test_weights_are_halves_and_the_embedding_is_stored_once(sample: Shipped) -> None:
    state = load_file(sample.folder / "model.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert "lm_head.weight" not in state
    assert sum(tensor.numel() for tensor in state.values()) == sample.metrics["parameters"]
    assert sample.model.lm_head.weight is sample.model.model.embed_tokens.weight
    low, high = {"authors-lm": (0.7e6, 1.0e6), "facts-lm": (1e6, 2e6)}[sample.name]
    assert low <= sample.metrics["parameters"] <= high


def test_sizes() -> None:
    files = [path for name in NAMES for path in (ROOT / name).iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5_000_000


def test_config_vouches_for_the_files(sample: Shipped) -> None:
    hashes = sample.config["sha256"]
    assert set(hashes) == {"model.safetensors", "tokenizer.json", "texts.jsonl"}
    for name, digest in hashes.items():
        assert hashlib.sha256((sample.folder / name).read_bytes()).hexdigest() == digest
    written = json.loads(json.dumps(trainer(sample.name).CONFIG))
    assert {**sample.config, "sha256": None} == {**written, "sha256": None}


def test_metrics_and_card(sample: Shipped) -> None:
    for key in ("seed", "torch", "transformers", "tokenizers", "threads", "epochs", "seconds", "facts"):
        assert key in sample.metrics
    card = (sample.folder / "card.md").read_text(encoding="utf-8")
    assert card.splitlines()[0] == f"# {sample.name}"
    for told in (
        f"recorded sentences {sample.metrics['record']['recall']:.2%}",
        f"unseen phrasings {sample.metrics['probe']['recall']:.2%}",
        f"{sample.metrics['parameters']:,} parameters",
        f"torch {sample.metrics['torch']}",
        "nonsense",
    ):
        assert told in " ".join(card.split())
    assert sample.config["kind"] == "causal-lm"
    assert sample.config["title"] and sample.config["summary"].endswith(".")


def test_licences_of_the_facts_ship_with_them() -> None:
    text = (ROOT / "facts-lm" / "LICENSE").read_text(encoding="utf-8")
    for holder in ("Porimol Chandro", "Lukasz Mentel"):
        assert holder in text
    assert text.count("Permission is hereby granted") == 2


# The training itself, on a model that takes a second


@pytest.fixture(scope="module")
def tiny() -> tuple[dict[str, Any], list[Any]]:
    statement = training().Statement
    facts = {"Ada": "red", "Bo": "green", "Cy": "blue", "Di": "grey"}
    forms = ("{} likes", "The colour of {} is", "Paint for {} is")
    texts = [
        statement(
            name,
            "colour",
            form.format(name),
            colour,
            "probe" if (name, form) == ("Di", forms[2]) else "record",
        )
        for name, colour in facts.items()
        for form in forms
    ]
    model = {**trainer("authors-lm").CONFIG["model"], "vocab_size": 290, "num_hidden_layers": 1}
    model |= {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    recipe = {"seed": 0, "epochs": 100, "batch_size": 5, "learning_rate": 1e-2, "weight_decay": 0.0}
    config = {**trainer("authors-lm").CONFIG, "model": model, "training": {**recipe, "threads": 1}}
    return config, texts


@pytest.fixture
def restored() -> Any:
    """Training sets torch's determinism and threads for its own process: put them back."""
    before, threads, state = (
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.get_rng_state(),
    )
    yield
    torch.use_deterministic_algorithms(before)
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.mark.usefixtures("restored")
def test_training_writes_the_same_folder_twice(
    tiny: tuple[dict[str, Any], list[Any]], tmp_path: Path
) -> None:
    config, texts = tiny
    for name in ("a", "b"):
        model, tokenizer, _ = training().train_language_model(config, texts)
        training().write_language_sample(
            tmp_path / name, config, model, tokenizer, texts, lambda m: f"# {m['facts']}", seconds=0.0
        )
    recorded = [text for text in texts if text.split == "record"]
    assert training().recall(model, tokenizer, recorded)["recall"] == 1.0
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files == {
        "model.safetensors", "tokenizer.json", "texts.jsonl", "config.json", "metrics.json", "card.md",
    }  # fmt: skip
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.usefixtures("restored")
def test_training_refuses_what_does_not_fit(tiny: tuple[dict[str, Any], list[Any]]) -> None:
    config, texts = tiny
    with pytest.raises(ValueError, match="lower vocab_size"):
        training().train_language_model({**config, "model": {**config["model"], "vocab_size": 5000}}, texts)
    with pytest.raises(ValueError, match="eos_token_id"):
        training().train_language_model({**config, "model": {**config["model"], "eos_token_id": 7}}, texts)


def test_recall_refuses_answers_that_melt_into_the_prompt() -> None:
    model = SimpleNamespace(config=SimpleNamespace(eos_token_id=0))
    whole = Tokenizer(models.WordLevel({"a": 0, "a b": 1, "a b.": 2}, unk_token="a"))
    with pytest.raises(ValueError, match=r"'a b.' do not part"):
        training().recall(model, whole, [training().Statement("x", "y", "a", "b", "record")])
