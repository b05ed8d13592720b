"""One room for all caches: bounded in bytes, in the order of use, and left by caches that end."""

import gc

import pytest
import torch
from cachetools import LRUCache

from engram_core.solving import tensor_cache
from engram_core.solving.tensor_cache import TensorCache


@pytest.fixture
def room(monkeypatch) -> LRUCache:
    """A room of 1,000 bytes: ten tensors of 25 numbers."""
    held: LRUCache = LRUCache(1000, getsizeof=lambda tensor: tensor.nbytes)
    monkeypatch.setattr(tensor_cache, "_held", held)
    return held


def test_what_is_kept_is_made_once(room) -> None:
    cache, made = TensorCache(), []
    first, again = (cache.get("a", lambda: made.append(1) or torch.ones(25)) for _ in range(2))
    assert first is again and len(made) == 1 and cache.nbytes == 100


def test_all_caches_together_stay_within_the_room_and_the_longest_unused_goes(room) -> None:
    one, two = TensorCache(), TensorCache()
    for number in range(5):
        one.get(number, lambda: torch.ones(25))
        two.get(number, lambda: torch.ones(25))
    assert one.nbytes == two.nbytes == 500 == room.currsize / 2
    kept = one.get(0, lambda: torch.zeros(25))
    assert one.nbytes == 500  # looking at the size is no use of what is looked at
    two.get("large", lambda: torch.ones(100))
    assert room.currsize <= 1000
    assert one.get(0, lambda: torch.zeros(25)) is kept
    assert not one.get(1, lambda: torch.zeros(25)).any()  # made anew


def test_what_is_larger_than_the_room_is_made_and_not_kept(room) -> None:
    cache, made = TensorCache(), []
    cache.get("small", lambda: torch.ones(25))
    for _ in range(2):
        assert len(cache.get("large", lambda: made.append(1) or torch.ones(500))) == 500
    assert len(made) == 2 and cache.nbytes == 100


def test_what_nobody_can_ask_for_any_more_goes_with_its_cache(room) -> None:
    one, two = TensorCache(), TensorCache()
    one.get("a", lambda: torch.ones(25))
    two.get("a", lambda: torch.ones(25))
    del one
    gc.collect()
    assert room.currsize == 100 == two.nbytes
    # Where it ends in the middle of a change, the next who asks removes it.
    with tensor_cache._lock:
        del two
        gc.collect()
        assert room.currsize == 100
    three = TensorCache()
    three.get("b", lambda: torch.ones(50))
    assert room.currsize == 200 == three.nbytes


def test_what_fails_to_be_made_leaves_the_cache_usable(room) -> None:
    cache = TensorCache()
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: torch.ones(1 // 0))
    assert len(cache.get("a", lambda: torch.ones(25))) == 25
