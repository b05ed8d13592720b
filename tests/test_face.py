"""What `import engram_core` gives: all that a user needs by name, and no name twice."""

import inspect

import engram_core as ec
from engram_core import errors


def test_every_name_is_there_once():
    assert len(ec.__all__) == len(set(ec.__all__))
    for name in ec.__all__:
        assert getattr(ec, name) is not None


def test_every_kind_of_error_can_be_caught_by_its_name():
    kinds = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert kinds <= set(ec.__all__)
    assert all(issubclass(getattr(ec, name), ec.EngramError) for name in kinds)


def test_what_is_called_is_explained():
    for name in ec.__all__:
        value = getattr(ec, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
