"""A config is held against the weights beside it: whatever it asks for, one gets a model or a sentence."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from language_helpers import tiny
from safetensors.torch import load_file, save_file

import engram_core as ec
from engram_core.errors import StorageError
from engram_core.hub.downloads import inspect_folder
from engram_core.opening.load import load_model


def config(folder: Path, **entries: Any) -> None:
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | entries))


def refusal(folder: Path) -> str:
    with pytest.raises(StorageError) as caught:
        load_model(folder)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700 and str(folder) in said
    return said


def refused_early(folder: Path) -> str:
    """The refusal of a folder that is only looked at."""
    with pytest.raises(StorageError) as caught:
        inspect_folder(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    "family", ["llama", "gpt2", "gpt2 with a head of its own", "opt", "mixtral", "qwen2"]
)
def test_every_family_as_it_is_saved_is_plausible(family: str, tmp_path) -> None:
    tiny(family).save_pretrained(tmp_path)
    assert ec.model_hash(load_model(tmp_path)) == ec.model_hash(tiny(family))


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"num_hidden_layers": 200_000}, "is 200000; the weights beside it are of 2 layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"num_hidden_layers": 0}, "at least 1"),
        ({"num_hidden_layers": -2}, "at least 1"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers is 2.0; it should be a whole number"),
        ({"num_hidden_layers": True}, "whole number"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers is '2'; it should be a whole number"),
        ({"hidden_size": "24"}, "hidden_size is '24'"),
        ({"hidden_size": 10**12}, "hidden_size is 1000000000000; the largest of the weights"),
        ({"hidden_size": float("nan")}, "hidden_size is nan"),
        ({"hidden_size": [24]}, ""),
        ({"hidden_size": 48}, "no weight beside it has that size; the largest"),
        ({"vocab_size": 10**9}, "vocab_size is 1000000000"),
        ({"vocab_size": 299}, "vocab_size is 299; no weight beside it has that size"),
        ({"intermediate_size": 10**9}, "intermediate_size"),
        ({"num_attention_heads": 5, "head_dim": None, "num_key_value_heads": None}, "divide the width 24"),
        ({"num_attention_heads": 10**9}, "num_attention_heads"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_key_value_heads": 3, "num_attention_heads": 4}, "num_key_value_heads 3 does not divide the 4"),
        ({"max_position_embeddings": 10**12}, "max_position_embeddings"),
        ({"head_dim": 10**9}, "head_dim"),
        ({"num_labels": 10**9}, "num_labels"),
        ({"bos_token_id": 10**400}, "bos_token_id"),
        ({"layer_types": ["full_attention"] * 200_000}, "a list of 200,000 entries"),
        ({"hidden_act": "wibble"}, "hidden_act is 'wibble', and no activation is called so"),
        ({"dtype": "float8_e4m3fn"}, "dtype is 'float8_e4m3fn'; a model's type is one of"),
        ({"torch_dtype": "__import__('os')"}, "a model's type is one of"),
        ({"tie_word_embeddings": "yes"}, "it should be true or false"),
        ({"attn_implementation": "kernels-community/flash-attn"}, "may be code from elsewhere"),
        ({"_attn_implementation": "somebody/kernel@main:fn"}, "may be code from elsewhere"),
        ({"_attn_implementation_internal": "/tmp/kernel.py"}, "may be code from elsewhere"),
        ({"attn_implementation": {"": "sdpa", "text_config": "a/b"}}, "may be code from elsewhere"),
        ({"text_config": {"attn_implementation": "a/b"}}, "text_config.attn_implementation is 'a/b'"),
        ({"experts_implementation": "a/b"}, "may be code from elsewhere"),
        ({"attn_implementation": "flash_attention_2"}, "Known here: eager, sdpa"),
        ({"use_kernels": True}, "asks for code from elsewhere"),
        ({"text_config": {"quantization_config": {"quant_method": "awq"}}}, "is quantised (awq)"),
        ({"rope_parameters": {"rope_type": "nonsense", "factor": -1}}, ""),
        ({"rope_scaling": 7}, ""),
        ({"rope_parameters": {"rope_theta": "big"}}, ""),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_broken_config_is_one_sentence_that_names_the_entry(folder, entries: dict, told: str) -> None:
    config(folder, **entries)
    start = time.perf_counter()
    assert told in refusal(folder)
    if told and "hidden_act" not in entries:
        assert told in refused_early(folder)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"a":' * 50 + "1" + "}" * 50, "nested deeper than 8 levels"),
        ('{"model_type": "llama", "model_type": "opt"}', "'model_type' stands there twice"),
        ('{"vocab_size": ' + "9" * 5000 + "}", "cannot be read as JSON"),
        ('{"x": "' + "a" * (9 << 20) + '"}', "at most 8 MB are read"),
        ("[1]", "should hold a JSON object"),
        ('{"model_type": ["llama"]}', "does not know the architecture"),
        ('{"model_type": {"a": 1}}', "does not know the architecture"),
        ("\ufeff{}", "cannot be read as JSON"),
        ('{"vocab_size": "\ud800"}', "cannot be read as JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_json_that_is_made_to_be_odd_is_one_sentence(folder, text: str, told: str) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert told in refusal(folder)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"rms_norm_eps": "a"}, "config.json: rms_norm_eps is 'a', which this kind of model does not take."),
        ({"num_hidden_layers": None}, "config.json: num_hidden_layers is None, which"),
        ({"bos_token_id": [1, 2]}, "config.json: bos_token_id is [1, 2], which"),
        ({"head_dim": 5}, "config.json: RoPE requires an even rotary dimension"),
    ],
)
def test_an_entry_of_another_type_is_named_without_the_library_s_own_words(folder, entries, told) -> None:
    config(folder, **entries)
    said = refusal(folder)
    assert told in said and "Error" not in said and "alidation" not in said


def test_a_model_that_is_said_to_answer_in_tuples_is_recorded_like_any(folder) -> None:
    texts = {"a": torch.arange(1, 9).reshape(2, 4), "b": torch.arange(9, 17).reshape(2, 4)}
    plain = ec.record(load_model(folder), texts)
    config(folder, return_dict=False, output_hidden_states=True)
    old = ec.record(load_model(folder), texts)
    layer = "model.layers.1.mlp.down_proj"
    one, two = (r.sources[r.source_of[layer]].statistics["a"].rows() for r in (plain, old))
    assert torch.equal(one, two)


def test_a_head_of_its_own_that_the_config_calls_tied_is_not_dropped(folder) -> None:
    state = load_file(folder / "model.safetensors")
    own = {"lm_head.weight": torch.randn(300, 24)}
    save_file(state | own, folder / "model.safetensors", metadata={"format": "pt"})
    for tied in (True, False):
        config(folder, tie_word_embeddings=tied)
        loaded = load_model(folder).state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in (state | own).items())


def test_what_versions_of_transformers_write_beside_is_no_code(folder) -> None:
    config(folder, _attn_implementation_autoset=True, attn_implementation="sdpa", torch_dtype="float32")
    assert ec.model_hash(load_model(folder)) == ec.model_hash(tiny("llama"))


def test_a_copy_of_the_embedding_as_head_is_what_tied_means(folder) -> None:
    state = load_file(folder / "model.safetensors")
    copy = {"lm_head.weight": state["model.embed_tokens.weight"].clone()}
    save_file(state | copy, folder / "model.safetensors", metadata={"format": "pt"})
    assert ec.model_hash(load_model(folder)) == ec.model_hash(tiny("llama"))


def test_forty_random_configs_give_a_model_or_a_sentence(folder) -> None:
    draw, known = random.Random(0), json.loads((folder / "config.json").read_text())
    odd = [
        0,
        1,
        -1,
        3,
        7,
        2**31,
        10**18,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "24",
        "x",
        None,
        True,
        [],
        [1],
        {},
        {"a": 1},
    ]
    whole = 0
    for _ in range(40):
        entries = {draw.choice(list(known)): draw.choice(odd) for _ in range(draw.randint(1, 3))}
        (folder / "config.json").write_text(json.dumps(known | entries))
        try:
            load_model(folder)
            whole += 1
        except StorageError as error:
            assert "\n" not in str(error)
    assert 1 < whole < 39


def test_on_the_command_line_it_is_one_line_in_little_memory(folder) -> None:
    config(folder, num_hidden_layers=200_000)
    # Not by `getrusage`: a child's counts what the process had that started it.
    script = (
        "import atexit, sys\n"
        "from pathlib import Path\n"
        "atexit.register(lambda: sys.stdout.write(Path('/proc/self/status').read_text()))\n"
        "from engram_core.cli import main\nmain()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "layers", str(folder)], capture_output=True, text=True, check=False
    )
    said = ran.stderr
    assert ran.returncode == 2 and said.count("\n") == 1 and "num_hidden_layers is 200000" in said
    assert int(ran.stdout.split("VmHWM:")[1].split()[0]) < 1.5 * 2**20  # kilobytes
