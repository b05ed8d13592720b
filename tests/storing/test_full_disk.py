"""Every writer on a disk that really runs full: the old file stays, nothing else does, a sentence says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WRITERS = """
import json, os, resource, signal, sys, tempfile
from pathlib import Path
from unittest import mock
import torch
torch.set_num_threads(1)
import engram_core as ec
from engram_core.opening import prepared as preparing
from engram_core.storing import cache
from engram_core.cli import main
from engram_core.errors import EngramError
from engram_core.language import LanguageConcepts, Recall, TextConcept, TextItem, TextSet
from engram_core.language import save_edited, save_lora
from app.compute import export as take
from app.server import uploaded
from app.server.background_load import BackgroundLoad
from app.choice.choice import clean
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

place, tokenizer_file = Path(sys.argv[1]), sys.argv[2]
os.chdir(place)
preparing._WORTH = 0.0
tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizer_file)
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
)).eval()
texts = TextSet(tuple(
    TextConcept(n, (TextItem(f"{n} was born in", f" {n}town"), TextItem(f"{n} lives in", f" {n}ville")))
    for n in ("Anna", "Bert")
))
subject = ec.Subject(model, LanguageConcepts(tokenizer, texts), Recall(tokenizer, texts))
recording = ec.record(model, subject.concepts)
atlas = ec.extract(model, recording)
view = atlas.apply(erase=["Anna"])

base = BackgroundLoad.of_sample("digits-mlp").base()
choice = clean({"concepts": ["7"]}, base.facts)
tempfile.tempdir = str(place / "temporary")

whole = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, whole[1]))

def command(*arguments):
    def run():
        with mock.patch.object(sys, "argv", ["engram", *arguments]):
            main()
    return run

def kept():
    ec.prepare(subject)
    assert not cache.entries()

writers = {
    "recording": lambda: recording.save("out"),
    "atlas": lambda: atlas.save("out"),
    "edited": lambda: save_edited(view, "folder", tokenizer),
    "lora": lambda: save_lora(atlas, "Anna", "adapter"),
    "lora into an old one": lambda: save_lora(atlas, "Anna", "old"),
    "upload": lambda: uploaded.upload("concepts.csv", b"x" * 1000),
    "taken model": lambda: take.make(base, choice, take.MODEL, step=lambda *_: None),
    "taken engrams": lambda: take.make(base, choice, take.ATLAS, step=lambda *_: None),
    "cache": kept,
    "record": command("record", "digits-mlp", "-o", "out"),
    "extract": command("extract", "digits-mlp", "-o", "out"),
    "erase": command("erase", "digits-mlp", "7", "-o", "out"),
    "map csv": command("map", "digits-mlp", "--csv", "out", "--most", "40"),
    "map html": command("map", "digits-mlp", "--html", "out", "--most", "40"),
    "sweep csv": command("sweep", "digits-mlp", "--concepts", "7", "--strengths", "1", "--sharpness", "1",
                         "--groups", "all", "--csv", "out"),
    "sweep html": command("sweep", "digits-mlp", "--concepts", "7", "--strengths", "1", "--sharpness", "1",
                          "--groups", "all", "--html", "out"),
}
found = {}
for name, write in writers.items():
    try:
        write()
        found[name] = "no error"
    except SystemExit as error:
        found[name] = f"exit {error.code}"
    except EngramError as error:
        found[name] = f"said: {error}"
    except BaseException as error:
        found[name] = f"raised {error!r}"
resource.setrlimit(resource.RLIMIT_FSIZE, whole)
print("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> tuple[dict[str, str], Path, str]:
    place = tmp_path_factory.mktemp("full")
    (place / "out").write_text("old")
    (place / "temporary").mkdir()
    (place / "old").mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json", "engram.json"):
        (place / "old" / name).write_text("old")
    tokenizer = Path(__file__).resolve().parents[2] / "sample_models" / "authors-lm" / "tokenizer.json"
    result = subprocess.run(
        [sys.executable, "-c", WRITERS, str(place), str(tokenizer)],
        capture_output=True, text=True, timeout=300, env=os.environ | {"ENGRAM_CACHE": str(place / "cache")},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.strip().splitlines()[-1]), place, result.stderr


def test_every_writer_says_so_and_none_raises_anything_else(ran) -> None:
    found, _, errors = ran
    for name, what in found.items():
        if name == "cache":
            assert what == "no error", what  # what cannot be kept is done without
        elif name.split()[0] in ("record", "extract", "erase", "map", "sweep"):
            assert what == "exit 2", (name, what)
        else:
            assert what.startswith("said: ") and "ile too large" in what, (name, what)
    assert "Traceback" not in errors and errors.count("Error: Could not write out") == 7
    assert errors.count("The old file is untouched.") == 7
    assert errors.count("kept for the next start") == 1  # and not again at every command


def test_the_old_files_are_there_and_nothing_else_is(ran) -> None:
    _, place, _ = ran
    left = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
    old = ["adapter_config.json", "adapter_model.safetensors", "engram.json"]
    assert left == ["cache", "old", *(f"old/{name}" for name in old), "out", "temporary"]
    for path in ("out", *(f"old/{name}" for name in old)):
        assert (place / path).read_text() == "old"
