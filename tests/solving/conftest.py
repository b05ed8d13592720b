"""The digits classifier with its engrams, as the tests of tables take it."""

from __future__ import annotations

import pytest
from helpers import Case, subject_of

import engram_core as ec
from engram_core.concepts.tasks import Subject


@pytest.fixture(scope="module")
def subject(digits: Case) -> Subject:
    return subject_of(digits)


@pytest.fixture(scope="module")
def atlas(subject: Subject) -> ec.Atlas:
    return ec.extract(subject.model, ec.record(subject.model, subject.concepts))
