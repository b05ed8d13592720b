"""The command line, for all tests of commands."""

from functools import partial

import pytest
from commands import AWKWARD, run_command
from language_helpers import byte_tokenizer, tiny

from engram_core.commands import subject as subjects
from engram_core.concepts.tasks import Subject
from engram_core.language import LanguageConcepts, Recall, TextSet


@pytest.fixture
def engram(monkeypatch, capfd):
    """Run the command as the installed script does."""
    return partial(run_command, monkeypatch, capfd)


@pytest.fixture
def little(monkeypatch) -> Subject:
    rows = [{"concept": n, "prompt": f"{i} is", "answer": f"the {i}th"} for i, n in enumerate(AWKWARD)]
    model, tokenizer, texts = tiny("llama"), byte_tokenizer(), TextSet.of(rows)
    subject = Subject(model, LanguageConcepts(tokenizer, texts), Recall(tokenizer, texts))
    monkeypatch.setattr(subjects, "open_subject", lambda *_, **__: subject)
    return subject
