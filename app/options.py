"""How the server was started: `engram app` puts its options into the environment, pages read them here."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["ServerOptions", "environment", "server_options"]


@dataclass(frozen=True)
class ServerOptions:
    """Options of one server.

    Attributes:
        model: model that the pages open with; "" for the first sample.
        concepts: file or folder of own concepts for `model`; "" for a sample.
        demo: a public screen: no paths, no uploads, no hub names, limits on texts and concepts.
        guest: the process is somebody else's: its threads and settings are left as they are.
    """

    model: str = ""
    concepts: str = ""
    demo: bool = False
    guest: bool = False

    @property
    def most_concepts(self) -> int:
        """How many concepts one edit may name."""
        # Streamlit reads no address of more than 1,000 parts.
        return 20 if self.demo else 900

    @property
    def most_characters(self) -> int:
        """How long a typed text may be."""
        return 400 if self.demo else 4000

    @property
    def most_tokens(self) -> int:
        """How many tokens one generation may have."""
        return 60 if self.demo else 400


_NAMES = {
    "model": "ENGRAM_APP_MODEL", "concepts": "ENGRAM_APP_CONCEPTS", "demo": "ENGRAM_APP_DEMO",
    "guest": "ENGRAM_APP_GUEST",
}  # fmt: skip


def environment(options: ServerOptions) -> dict[str, str]:
    """Return the variables that hand the options to the server."""
    return {
        _NAMES["model"]: options.model,
        _NAMES["concepts"]: options.concepts,
        _NAMES["demo"]: "1" if options.demo else "",
        _NAMES["guest"]: "1" if options.guest else "",
    }


def server_options() -> ServerOptions:
    """Return the options this server was started with."""
    model, concepts, demo, guest = (os.environ.get(name, "") for name in _NAMES.values())
    return ServerOptions(model, concepts, demo == "1", guest == "1")
