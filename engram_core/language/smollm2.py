"""A pretrained model that comes as a Python package: found when installed, converted once, never imported.

The package holds a GGUF file (quantised weights). transformers reads it into float32 in about half a minute;
the result is kept as an ordinary model folder in the cache (see `cache`), so that later loads take a second
and need only safetensors. The package's own code is never run.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import DependencyError, StorageError
from ..libraries import TRANSFORMERS, need
from ..progress import Progress
from ..storing.cache import find, only_one, store
from ..storing.cache import sha256 as _sha256
from ..storing.cache_settings import cache_folder

__all__ = ["PackagedModel", "cache_folder"]

_SIZE = 560 << 20  # of the converted model


@dataclass(frozen=True)
class PackagedModel:
    """A model inside an installed package: where it is, how to install it, how to load it.

    Attributes:
        name: the sample's name; also the start of its folder in the cache.
        module: top-level folder of the package, looked up and never imported.
        file: the GGUF file in it.
        sha256: of that file.
        command: the one command that installs the package.
    """

    name: str
    module: str
    file: str
    sha256: str
    command: str

    @classmethod
    def of(cls, name: str, config: dict[str, Any]) -> PackagedModel:
        """Read the ``weights`` of a sample's config.json.

        Args:
            name: of the sample.
            config: its config.json.

        Returns:
            What the package is and holds.
        """
        weights = config["weights"]
        return cls(name, weights["module"], weights["file"], weights["sha256"], weights["command"])

    def find(self) -> Path | None:
        """Return the GGUF file, or None if the package is not installed (or lacks the file)."""
        try:
            found = importlib.util.find_spec(self.module)
        except (ImportError, ValueError):
            return None
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            path = Path(place) / self.file
            if path.is_file():
                return path
        return None

    @property
    def entry(self) -> str:
        """The name in the cache that the converted model has (or would have)."""
        return f"{self.name}-{self.sha256[:16]}"

    def converted(self) -> Path | None:
        """Return the folder that the converted model has (or would have); None without a cache."""
        root = cache_folder()
        return None if root is None else root / self.entry

    def load(self, progress: Progress | None = None) -> tuple[nn.Module, Any]:
        """Return the model (float32, evaluation mode) and its tokenizer.

        The package's file is converted if the cache does not have it. A damaged cache is built again; one
        that cannot be written is done without.

        Args:
            progress: called with (done, total, text) while it is converted.

        Raises:
            DependencyError: if the package, or what reads it, is not installed.
            StorageError: if the package's file is not the one this was tested with.
        """
        source = self.find()
        if source is None:
            raise DependencyError(
                f"{self.name} is not installed: its weights come as a separate package (94 MB). "
                f"Install it with  {self.command}"
            )
        transformers = need("transformers", f"{self.name} is a language model and")

        def waiting(seconds: float) -> None:
            if progress is not None:
                progress(0, None, f"waiting {seconds:.0f} s for another process that converts {self.name}")

        # Drawing weights that are then replaced must not move the caller's random state.
        with TRANSFORMERS, torch.random.fork_rng(devices=[]), _without_bars(transformers):
            with only_one(self.entry, waiting):
                folder = find(self.entry)
                if folder is None:
                    model, tokenizer = self._convert(source, transformers, progress)
                    folder = self._keep(model, tokenizer)
                    if folder is None:
                        return model.eval(), tokenizer
            # Whoever converts reads the result like everybody else, so that both have the same model.
            return _read(folder, transformers)

    def _convert(self, source: Path, transformers: Any, progress: Progress | None) -> tuple[Any, Any]:
        if _sha256(source) != self.sha256:
            raise StorageError(
                f"{source} is not the file that {self.name} was tested with: its SHA-256 differs. "
                f"Install it again with  {self.command} --force-reinstall"
            )
        try:
            quiet = transformers.GgufConfig(dequantize=True)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
            with _told(progress, f"converting {self.name}, once"):
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    source.parent, gguf_file=source.name, dtype=torch.float32, quantization_config=quiet
                )
        except ImportError as error:
            needed = error.name or "gguf and accelerate"
            raise DependencyError(
                f"{self.name} comes as a GGUF file, and reading it needs {needed}: install it with  "
                "pip install 'engram-explorer[language]'."
            ) from None
        return model, tokenizer

    def _keep(self, model: Any, tokenizer: Any) -> Path | None:
        def write(folder: Path) -> None:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        return store(self.entry, write, size=_SIZE, kind="model", of=self.name, about="converted to float32")


def _read(folder: Path, transformers: Any) -> tuple[nn.Module, Any]:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    if model.config.tie_word_embeddings:
        # transformers forgets to, for good, once two threads have loaded models at the same time.
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer


@contextlib.contextmanager
def _told(progress: Progress | None, text: str) -> Iterator[None]:
    """Let the reader of GGUF files tell `progress`, and not draw a bar of its own on the error stream."""
    reader = need("transformers.modeling_gguf_pytorch_utils", "A GGUF file")

    def told(tensors: Iterable[Any], **_options: Any) -> Iterator[Any]:
        every = list(tensors)
        for done, tensor in enumerate(every):
            if progress is not None:
                progress(done, len(every), text)
            yield tensor

    bar = reader.tqdm
    reader.tqdm = told
    try:
        yield
    finally:
        reader.tqdm = bar


@contextlib.contextmanager
def _without_bars(transformers: Any) -> Iterator[None]:
    """Silence transformers' progress bars, which would stand among our own messages."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()
