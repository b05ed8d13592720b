"""One at a time: transformers replaces functions of torch for the whole process while it loads a model.

Two models loaded in two threads at once can leave `tie_weights` switched off: a model then has a random head
(transformers 5.23; found when two pages of the explorer opened two models).
"""

from __future__ import annotations

import threading

__all__ = ["TRANSFORMERS"]

TRANSFORMERS = threading.RLock()
"""Held while transformers makes or loads a model."""
