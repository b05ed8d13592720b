"""How the outputs of a model are read as the answers of its concepts."""

import pytest
from helpers import Case, subject_of

from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Subject
from engram_core.errors import UnknownNameError


def test_a_concept_that_is_no_class_is_refused(digits: Case) -> None:
    subject = subject_of(digits)
    with pytest.raises(UnknownNameError, match="Unknown class '9'"):
        Subject(subject.model, subject.concepts, Classification(tuple("012345678x")))
