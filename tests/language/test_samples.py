"""The language samples: listed without loading, and refused in a sentence where a library is absent."""

import subprocess
import sys

import pytest

import engram_core as ec
from engram_core.errors import EngramError
from engram_core.language.samples import load_language_sample
from engram_core.opening.samples import describe_sample


def test_the_listing_knows_the_loaded_model_and_its_concepts(authors):
    about = describe_sample("authors-lm")
    assert about["concepts"] == list(authors.texts)
    assert about["metrics"]["model_hash"] == ec.model_hash(authors.sample.model)


def test_the_package_is_imported_without_transformers_or_peft():
    code = (
        "import sys; sys.modules.update(transformers=None, peft=None, tokenizers=None);"
        "import engram_core, engram_core.language"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SENTENCE = (
    "authors-lm is a language model and needs transformers: install it with  "
    "pip install 'engram-explorer[language]'."
)


def test_a_language_sample_without_transformers_says_what_to_install(authors, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EngramError) as caught:
        load_language_sample(authors.sample.folder, authors.sample.config)
    assert str(caught.value) == SENTENCE


def test_load_sample_without_transformers_says_what_to_install_and_nothing_of_damage(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EngramError) as caught:
        ec.load_sample("authors-lm")
    assert str(caught.value) == SENTENCE
