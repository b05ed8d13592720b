"""The digits model with its engrams, as all tests of tuning take it."""

from __future__ import annotations

import pandas as pd
import pytest
from helpers import Case, subject_of

import engram_core as ec
from engram_core.concepts.tasks import Subject
from engram_core.tuning.sweep import sweep

FILTERS = (ec.Sharpness(), ec.Sharpness(1.5, True))


@pytest.fixture(scope="module")
def subject(digits: Case) -> Subject:
    return subject_of(digits, 30, recorded=40)


@pytest.fixture(scope="module")
def atlas(subject: Subject) -> ec.Atlas:
    return ec.extract(subject.model, ec.record(subject.model, subject.concepts))


@pytest.fixture(scope="module")
def table(subject: Subject, atlas: ec.Atlas) -> pd.DataFrame:
    return sweep(
        subject, atlas, concepts=["2", "5", "7"], strengths=(1.0, 0.4), scalings=("plain", "adaptive"),
        sharpness=FILTERS, groups={"all": atlas.layers, "last": atlas.layers[-1:]},
    )  # fmt: skip
