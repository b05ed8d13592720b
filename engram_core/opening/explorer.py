"""`explore`: the explorer, opened by a script or a notebook on a model in its memory."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from html import escape
from types import TracebackType
from typing import Any, Protocol

from torch import nn

from ..concepts.sample import Sample
from ..concepts.tasks import Subject
from .in_memory import InMemory, hold, let_go, names_in_memory
from .made import sample_of
from .plugins import provided

__all__ = ["Explorer", "explore"]

_HEIGHT = 860  # pixels of the frame in a notebook


class _Server(Protocol):
    """What the explorer's own package starts: a server in this process, one for all models."""

    def page_of(self, name: str) -> str: ...
    def open_browser(self, url: str) -> None: ...
    def wait(self) -> None: ...
    def stop(self) -> None: ...


class Explorer:
    """The explorer on one model in memory; a notebook shows it inside.

    Attributes:
        url: address of the model's page, for this machine's browser.
        sample: the model with its concepts, as the pages have them.
    """

    def __init__(self, held: InMemory, server: _Server) -> None:
        self._held, self._server = held, server
        self.url = server.page_of(held.sample.name)

    @property
    def sample(self) -> Sample:
        """The model with its concepts, as the pages have them."""
        return self._held.sample

    def wait(self) -> None:
        """Wait until somebody stops the server: what a script ends with. Ctrl+C stops it."""
        try:
            self._server.wait()
        except KeyboardInterrupt:
            self.stop()

    def stop(self) -> None:
        """Take the model from the explorer; with the last one its server ends."""
        let_go(self._held)
        if not names_in_memory():
            self._server.stop()

    def __enter__(self) -> Explorer:
        """Return itself; the end of the block stops it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Explorer({self.sample.name!r} at {self.url})"

    def _repr_html_(self) -> str:
        """Return a frame with the page in it, for a notebook."""
        url = escape(self.url, quote=True)
        return (
            f'<iframe src="{url}" title="Engram Explorer" width="100%" height="{_HEIGHT}" '
            'style="border: 1px solid #8888; border-radius: 8px" allow="clipboard-write"></iframe>'
            f'<p><a href="{url}" target="_blank" rel="noopener">Open it in a tab of its own</a></p>'
        )


def _say_that_it_ends() -> None:
    """Tell a script that ends with the explorer open, which ends with it, how to keep it."""
    interactive = hasattr(sys, "ps1") or sys.flags.interactive or "ipykernel" in sys.modules
    if names_in_memory() and not interactive:
        print(
            "The script has ended, and the explorer with it. To keep it open, end the script with "
            "explorer.wait().",
            file=sys.stderr,
        )


def explore(
    model: nn.Module | Subject,
    concepts: Any = None,
    labels: Any = None,
    *,
    names: Sequence[str] | None = None,
    task: Any = None,
    tokenizer: Any = None,
    features: Sequence[str] | None = None,
    held_out: float = 0.25,
    seed: int = 0,
    name: str = "",
    port: int = 0,
    browser: bool | None = None,
) -> Explorer:
    """Open the explorer on a model in memory, for the browser of this machine.

    The model stays where it is, and nothing is written to it. The server runs in a thread of this process and
    listens on 127.0.0.1. In a notebook the last line of a cell shows the page; a script ends with
    ``.wait()``. A second call adds its model to the same server; under a name that is taken it takes the
    other one's place.

    Args:
        model: any module, or a `Subject`, which has its concepts and its task.
        concepts: a mapping name → inputs or `Concept`, a `ConceptSet`, a `TextSet` (with `tokenizer`), or
            data: a tensor, an array or a table with one input in each row (with `labels`).
        labels: of data: the class of each input, as the number of an output or as a name in `names`.
        names: of the model's outputs, in order. Default: the concepts', if the model has as many outputs.
        task: how outputs are scored; default: as classes, texts by exact recall.
        tokenizer: of a language model.
        features: names of the numbers in an input; default: the columns of a table, or their numbers.
        held_out: share of each concept that is measured on and not recorded, where that is not divided yet.
        seed: of that choice.
        name: what the model is called; default: its class.
        port: of the server, if it is not running yet; 0 for any that is free.
        browser: whether to open a browser window; default: where no notebook shows the page.

    Returns:
        The explorer: ``.url``, ``.stop()``, ``.wait()``.

    Raises:
        DataError: naming what was given, what was expected and what to do.
        DependencyError: if the explorer is not installed.
        EngramError: if the port is taken.
    """
    serve = provided("engram_core.app", "serve", purpose="ec.explore")
    sample = sample_of(
        model, concepts, labels, names=names, task=task, tokenizer=tokenizer, features=features,
        held_out=held_out, seed=seed, name=name,
    )  # fmt: skip
    held = hold(sample, code="sample = explorer.sample  # of  explorer = ec.explore(model, concepts)")
    try:
        explorer = Explorer(held, serve(port=port))
    except BaseException:
        let_go(held)
        raise
    if browser is None:
        browser = "ipykernel" not in sys.modules
    atexit.unregister(_say_that_it_ends)
    atexit.register(_say_that_it_ends)
    if browser:
        explorer._server.open_browser(explorer.url)
    return explorer
