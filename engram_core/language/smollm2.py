"""A pretrained model that comes as a Python package: found when installed, converted once, never imported.

The package holds a GGUF file (quantised weights). transformers reads it into float32 in about half a minute;
the result is kept as an ordinary model folder in a cache, so that later loads take seconds and need only
safetensors. The package's own code is never run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from ..errors import DependencyError, StorageError
from ..loading import TRANSFORMERS

__all__ = ["PackagedModel", "cache_folder"]

_MANIFEST = "engram-manifest.json"  # written last: a folder without it was never finished
_CHUNK = 1 << 20


def cache_folder() -> Path:
    """Return where converted models are kept: ``$ENGRAM_CACHE``, else the user's cache folder (XDG)."""
    chosen = os.environ.get("ENGRAM_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(general) if general else Path.home() / ".cache") / "engram-explorer"


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
        """Read the ``weights`` of a sample's config.json."""
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

    def converted(self) -> Path:
        """Return the folder in the cache that the converted model has (or would have)."""
        return cache_folder() / f"{self.name}-{self.sha256[:16]}"

    def load(self) -> tuple[nn.Module, Any]:
        """Return the model (float32, evaluation mode) and its tokenizer.

        The package's file is converted if the cache does not have it. A damaged cache is built again; one
        that cannot be written is done without.

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
        transformers = _transformers(self.name)
        folder = self.converted()
        # Drawing weights that are then replaced must not move the caller's random state.
        with TRANSFORMERS, torch.random.fork_rng(devices=[]), _without_bars(transformers):
            if not _is_whole(folder):
                made = self._convert(source, folder, transformers)
                if made is not None:
                    return made
            return _read(folder, transformers)

    def _convert(self, source: Path, folder: Path, transformers: Any) -> tuple[nn.Module, Any] | None:
        """Fill `folder`; return the model itself only if the cache cannot be written."""
        if _sha256(source) != self.sha256:
            raise StorageError(
                f"{source} is not the file that {self.name} was tested with: its SHA-256 differs. "
                f"Install it again with  {self.command} --force-reinstall"
            )
        try:
            quiet = transformers.GgufConfig(dequantize=True)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                source.parent, gguf_file=source.name, dtype=torch.float32, quantization_config=quiet
            )
        except ImportError as error:
            needed = error.name or "gguf and accelerate"
            raise DependencyError(
                f"{self.name} comes as a GGUF file, and reading it needs {needed}: install it with  "
                "pip install 'engram-explorer[language]'."
            ) from None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            parts = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        except OSError:
            return model.eval(), tokenizer
        try:
            model.save_pretrained(parts)
            tokenizer.save_pretrained(parts)
            sums = {path.name: _sha256(path) for path in sorted(parts.iterdir()) if path.is_file()}
            (parts / _MANIFEST).write_text(json.dumps({"sha256": sums}, indent=1), encoding="utf-8")
            _replace(parts, folder)
        except (OSError, SafetensorError):  # the disk is full
            return model.eval(), tokenizer
        finally:
            shutil.rmtree(parts, ignore_errors=True)
        # Whoever converts reads the result like everybody else, so that both have the same model.
        return None if _is_whole(folder) else (model.eval(), tokenizer)


def _transformers(name: str) -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"{name} is a language model and needs {error.name}: install it with  "
            "pip install 'engram-explorer[language]'."
        ) from None
    return transformers


def _read(folder: Path, transformers: Any) -> tuple[nn.Module, Any]:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    if model.config.tie_word_embeddings:
        # transformers forgets to, for good, once two threads have loaded models at the same time.
        model.get_output_embeddings().weight = model.get_input_embeddings().weight
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _is_whole(folder: Path) -> bool:
    """Whether every file is there and is what was written: a flipped bit counts as damage too."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        sums = manifest["sha256"]
        return bool(sums) and all(_sha256(folder / name) == told for name, told in sums.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _replace(parts: Path, folder: Path) -> None:
    """Put a finished folder in place at once; of two processes that both built it, the first one wins."""
    try:
        os.replace(parts, folder)
    except OSError:
        if _is_whole(folder):
            return
        # A directory cannot be renamed over one that holds files, so the damaged one steps aside first.
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
        with contextlib.suppress(FileNotFoundError):
            os.replace(folder, aside / "old")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(parts, folder)


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
