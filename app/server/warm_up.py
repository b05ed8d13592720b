"""What the next model would wait for is imported while the server has nothing else to do.

Importing transformers and the code of a language model takes about three seconds, most of what a language
model that is in the cache takes to open.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

from engram_core.errors import DependencyError
from engram_core.libraries import TRANSFORMERS, need

__all__ = ["warm_up"]

_LOG = logging.getLogger(__name__)
# Of the language samples; each brings what all language models share.
_MODULES = (
    "transformers",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.gpt2.modeling_gpt2",
)
_once = threading.Lock()


def warm_up() -> None:
    """Begin, in a thread of low priority; nothing happens the second time."""
    if _once.acquire(blocking=False):
        threading.Thread(target=_import, name="warm-up", daemon=True).start()


def _import() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)  # of this thread alone
    try:
        for module in _MODULES:
            with TRANSFORMERS:
                need(module, "A language model")
    except DependencyError:
        return  # whoever opens a language model is told
    except Exception:  # whatever a broken installation raises; whoever needs it is told
        _LOG.debug("transformers could not be imported ahead", exc_info=True)
