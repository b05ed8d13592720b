"""Any language model from a folder or the hub; and all that can be wrong with one, said in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from language_helpers import broken, byte_tokenizer, little_texts, tiny
from safetensors.torch import load_file, save_file

import engram_core as ec
from engram_core.errors import DataError, NonFiniteError, StorageError
from engram_core.language import LanguageConcepts, perplexity, recall
from engram_core.language.hub import load_language_model, load_language_subject
from engram_core.opening.checkup import check_up
from engram_core.opening.load import load_subject


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture(scope="module")
def facts(tmp_path_factory) -> Path:
    rows = [
        {"concept": "sky", "prompt": "The sky is", "answer": "blue"},
        {"concept": "sky", "prompt": "By day the sky is", "answer": "blue", "split": "probe"},
        {"concept": "grass", "prompt": "Grass is", "answer": "green"},
        {"concept": "(background)", "text": "Rain fell on the hills."},
    ]
    path = tmp_path_factory.mktemp("facts") / "facts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def change(folder: Path, **entries) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))


def refusal(folder) -> str:
    """The refusal's one line."""
    with pytest.raises(StorageError) as caught:
        load_language_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what loads ----------------------------------------------------------------------------------------


def test_a_folder_gives_the_very_model_and_its_tokenizer(saved) -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    model, tokenizer = load_language_model(saved)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not model.training and ec.model_hash(model) == ec.model_hash(tiny("llama"))
    assert tokenizer("sky")["input_ids"] == byte_tokenizer()("sky")["input_ids"]


def test_the_type_can_be_chosen_by_name(saved) -> None:
    for wanted in ("bfloat16", torch.bfloat16):
        model, _ = load_language_model(saved, dtype=wanted)
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    for wrong in ("int8", "wide", torch.float8_e4m3fn):
        with pytest.raises(DataError, match="dtype must be"):
            load_language_model(saved, dtype=wrong)


def test_weights_in_several_files_are_read_and_a_missing_one_is_named(folder) -> None:
    model, _ = load_language_model(folder)
    model.save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 2
    assert ec.model_hash(load_language_model(folder)[0]) == ec.model_hash(model)
    parts[1].unlink()
    assert parts[1].name in refusal(folder)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_subject_is_ready_for_everything_a_sample_is(saved, facts, tmp_path, ending: str) -> None:
    path = facts
    if ending == "csv":
        path = tmp_path / "facts.csv"
        path.write_text("concept,prompt,answer\nsky,The sky is,blue\ngrass,Grass is,green\n")
    subject = load_subject(saved, path)
    assert subject.name == saved.name and list(subject.concepts) == ["sky", "grass"]
    atlas = ec.extract(subject.model, ec.record(subject.model, subject.concepts))
    table = ec.necessity(subject, atlas, controls=0)
    assert set(table["concept"]) == {"sky", "grass"}
    assert check_up(subject.model, subject.concepts).ok


def test_bad_texts_are_told_before_a_model_is_loaded(tmp_path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("concept,text\n,no name\nc,\n")
    with pytest.raises(DataError, match="line 2: no concept\nline 3: empty text"):
        load_subject(tmp_path / "no-such-model", path)
    with pytest.raises(DataError, match="neither a text file"):
        load_subject(tmp_path, tmp_path / "facts.txt")


def test_a_template_needs_a_tokenizer_that_has_one(saved, facts) -> None:
    with pytest.raises(DataError, match="no chat template"):
        load_language_subject(saved, facts, template=True)


# -- folders that are not one --------------------------------------------------------------------------


def test_what_is_no_model_folder_says_what_was_found(tmp_path) -> None:
    assert "no config.json. Found: nothing" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    assert "Found: a.txt" in refusal(tmp_path)
    assert "give the folder" in refusal(tmp_path / "a.txt")
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "an adapter, not a model" in refusal(tmp_path)
    (tmp_path / "model.Q4.gguf").write_bytes(b"GGUF")
    assert "GGUF, a quantised format" in refusal(tmp_path)
    assert "a GGUF file" in refusal(tmp_path / "model.Q4.gguf")


def test_a_folder_without_weights_says_so(folder) -> None:
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in refusal(folder)


def test_pickled_weights_are_refused_with_the_reason_and_never_opened(folder, tmp_path) -> None:
    opened = tmp_path / "opened"

    class Trap:
        def __reduce__(self):
            return (open, (str(opened), "w"))

    (folder / "model.safetensors").unlink()
    torch.save({"w": Trap()}, folder / "pytorch_model.bin")
    said = refusal(folder)
    assert "pickle only (pytorch_model.bin)" in said and "can run any code" in said
    assert not opened.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused_and_never_run(folder, file: str) -> None:
    (folder / "modeling_mine.py").write_text("raise SystemExit('run')")
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(
        json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}})
    )
    assert "asks for code of its own" in refusal(folder) and "never run" in refusal(folder)


@pytest.mark.parametrize(
    "found, told",
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bits"),
        ({"load_in_8bit": True}, "8 bits"),
        ({"quant_method": "fp8"}, "fp8"),
    ],
)
def test_a_quantised_model_says_which_way_and_what_to_do(folder, found, told: str) -> None:
    change(folder, quantization_config=found)
    assert told in refusal(folder) and "Take the unquantised model" in refusal(folder)


def test_quantised_values_without_a_word_in_the_config_are_seen(folder) -> None:
    state = load_file(folder / "model.safetensors")
    name = next(n for n in state if "q_proj" in n)
    state[name] = state[name].to(torch.float8_e4m3fn)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert "F8_E4M3" in refusal(folder)


def test_unknown_and_unfit_architectures_are_told_apart(folder) -> None:
    change(folder, model_type="newest-thing")
    assert "does not know the architecture 'newest-thing'" in refusal(folder)
    change(folder, model_type="t5")
    assert "'t5' is no causal language model" in refusal(folder)
    change(folder, model_type="")
    assert "names no model_type" in refusal(folder)


@pytest.mark.parametrize(
    "kind, name",
    [
        ("bert", "BertForMaskedLM"),
        ("roberta", "RobertaForMaskedLM"),
        ("electra", "ElectraForPreTraining"),
        ("bart", "BartForConditionalGeneration"),
        ("llama", "LlamaForSequenceClassification"),
    ],
)
def test_a_folder_of_another_class_of_a_known_family_names_it_and_what_to_do(folder, kind, name) -> None:
    change(folder, model_type=kind, architectures=[name])
    article = "an" if name[0] == "E" else "a"
    assert f"the weights are of {article} {name}. From Python, engram_core.record takes any model" in refusal(
        folder
    )


def test_damaged_files_are_named(folder) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "cut short, damaged" in refusal(folder)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "Git LFS pointer" in refusal(folder)
    (folder / "config.json").write_text("{")
    assert "cannot be read as JSON" in refusal(folder)


def test_missing_and_misshapen_weights_are_never_filled_with_noise(folder) -> None:
    whole = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({n: t for n, t in whole.items() if n != name}, folder / "model.safetensors", {"format": "pt"})
    assert "lacks 1 weights" in refusal(folder) and name in refusal(folder)
    save_file(whole | {name: torch.zeros(3, 3)}, folder / "model.safetensors", {"format": "pt"})
    refusal(folder)


def test_a_tokenizer_that_is_missing_or_of_another_model_is_told(folder) -> None:
    change(folder, vocab_size=100)
    model, _ = tiny("llama"), None
    model.resize_token_embeddings(100)
    model.save_pretrained(folder)
    assert "do not belong together" in refusal(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    assert "tokenizer" in refusal(folder)


# -- the hub without a network ---------------------------------------------------------------------------


# -- models and texts that go wrong -----------------------------------------------------------------------


def test_hidden_states_that_become_nan_name_the_first_layer_that_reads_them() -> None:
    concepts = LanguageConcepts(byte_tokenizer(), little_texts())
    with pytest.raises(NonFiniteError, match=r"'model\.layers\.0\.self_attn\.o_proj' reads NaN"):
        ec.record(broken("model.layers.0.self_attn.v_proj"), concepts)


def test_scores_of_a_model_that_answers_nan_name_where_it_starts() -> None:
    model = broken("model.layers.1.mlp.down_proj")
    for score in (
        lambda: recall(model, byte_tokenizer(), little_texts()),
        lambda: perplexity(model, byte_tokenizer(), ["Rain fell."]),
    ):
        with pytest.raises(NonFiniteError, match=r"'model\.layers\.1\.mlp\.down_proj'"):
            score()


def test_one_name_is_one_concept_and_not_its_letters() -> None:
    table = recall(tiny("llama"), byte_tokenizer(), little_texts(), concepts="sky")
    assert set(table["concept"]) == {"sky"} and len(table) == 2


def test_a_tokenizer_without_a_pad_token_is_enough() -> None:
    tokenizer = byte_tokenizer()
    assert tokenizer.pad_token is None
    assert len(recall(tiny("llama"), tokenizer, little_texts())) == 4


# -- the check-up -----------------------------------------------------------------------------------------
