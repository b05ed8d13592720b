"""Any causal language model, from a folder or the hub, with your own texts: from there on it is a sample."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..concepts.sample import Sample
from ..errors import StorageError
from ..hub.downloads import ModelFolder, find_folder, inspect_folder, load_pretrained, model_story, need
from ..hub.dtype import torch_type
from ..libraries import first_line, foreign_errors
from .concepts import LanguageConcepts
from .models import embedding_rows
from .recall_task import Recall
from .text_files import read_texts
from .texts import TextSet
from .tokenizer_files import check_tokenizer_files
from .tokens import Positions, check_template

_TRIED = "A word, 2 words."
_MOST_TRIED = 400  # tokens of it: a byte may be one, and a few stand around every text

__all__ = ["load_language_model", "load_language_subject", "load_tokenizer", "load_weights"]


def load_language_model(
    path_or_name: str | os.PathLike[str],
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[nn.Module, Any]:
    """Load a causal language model and its tokenizer.

    Safetensors only, no code from the folder, and no network unless a hub name is not in the cache yet.
    Torch's random state is left alone.

    Args:
        path_or_name: a folder, or a hub name.
        dtype: type of the weights, e.g. ``torch.bfloat16`` or ``"bfloat16"``; None for float32 on a CPU and
            the type they are stored in elsewhere.
        device: where the model goes.

    Returns:
        The model, in evaluation mode, and its tokenizer.

    Raises:
        StorageError: in one line: not there, out of reach, gated, pickled, quantised, damaged, unknown.
        DependencyError: if transformers is not installed.
    """
    return _load(inspect_folder(find_folder(path_or_name)), dtype, device)


def load_language_subject(
    path_or_name: str | os.PathLike[str],
    concepts: str | os.PathLike[str] | TextSet,
    *,
    positions: Positions = "all",
    template: bool = False,
    columns: Mapping[str, str] | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
) -> Sample:
    """Load a language model with text concepts, ready for record, extract, criteria and sweep.

    The texts are read first, so that a mistake in them is told before a large model is loaded.

    Args:
        path_or_name: see `load_language_model`.
        concepts: a JSONL, JSON or CSV file (see `read_texts`), or a text set.
        positions: which positions count (see `LanguageConcepts`).
        template: put prompts into the chat template.
        columns: the names that the file uses, by ours (see `read_texts`).
        dtype: see `load_language_model`.
        device: see `load_language_model`.

    Returns:
        A sample: ``.model``, ``.concepts``, ``.task``.

    Raises:
        DataError: naming every bad line of the texts at once.
        StorageError, DependencyError: see `load_language_model`.
    """
    texts = concepts if isinstance(concepts, TextSet) else read_texts(Path(concepts), columns=columns)
    folder = inspect_folder(find_folder(path_or_name))
    model, tokenizer = _load(folder, dtype, device)
    if template:
        check_template(tokenizer, str(folder.path))
    return Sample(
        model=model,
        concepts=LanguageConcepts(tokenizer, texts, positions=positions, template=template),
        task=Recall(tokenizer, texts, template=template),
        image_shape=None,
        value_range=None,
        config={"kind": "causal-lm", "model": folder.config},
        **model_story(path_or_name, folder.path, model, concepts=len(texts), digits=1),
    )


def _load(
    folder: ModelFolder, dtype: torch.dtype | str | None, device: torch.device | str
) -> tuple[nn.Module, Any]:
    # Before the weights, which may take minutes.
    check_tokenizer_files(folder.path)
    model = load_weights(folder, dtype=dtype, device=device)
    return model, load_tokenizer(folder, model)


def load_weights(
    folder: ModelFolder,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Load the language model of a checked folder, without its tokenizer (see `load_language_model`).

    Args:
        folder: from `inspect_folder`.
        dtype: see `load_language_model`.
        device: where the model goes.

    Returns:
        The model, in evaluation mode.
    """
    transformers = need("transformers", "A language model")
    names = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    place = torch.device(device)
    kind = torch_type(dtype, place)
    with torch.random.fork_rng(devices=[]):
        return load_pretrained(
            folder,
            transformers.AutoModelForCausalLM,
            names,
            "causal language model",
            dtype=kind,
            device=place,
        )


def load_tokenizer(folder: ModelFolder, model: nn.Module) -> Any:
    """Read the tokenizer of a model folder; no code from it, no network.

    A special token past the model's last embedding row is no mistake (gemma-3-1b has one for pictures); a
    text that uses it is refused when it is encoded.

    Args:
        folder: from `inspect_folder`, its tokenizer's files checked as well.
        model: the folder's model.

    Returns:
        The tokenizer.

    Raises:
        StorageError: it cannot be read, or is another model's.
    """
    transformers = need("transformers", "A language model")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
        words, added = tokenizer.get_vocab(), set(tokenizer.get_added_vocab())
        tried = list(tokenizer(_TRIED)["input_ids"])
        tokenizer.decode(tried)
    except BaseException as error:  # a tokenizer's files are of many kinds, and so are its errors
        if not foreign_errors(error):
            raise
        raise StorageError(
            f"{folder.path} has a model and no tokenizer that can be read ({first_line(error, 160)}). "
            "Copy tokenizer.json and tokenizer_config.json of the same model there."
        ) from None
    rows = embedding_rows(model)
    beyond = {word: number for word, number in words.items() if rows is not None and number >= rows}
    if not words or any(word not in added for word in beyond):
        raise StorageError(
            f"{folder.path}: its tokenizer gives numbers up to {max(words.values(), default=-1)}, and the "
            f"model has {rows} tokens. They do not belong together."
        )
    if len(tried) > _MOST_TRIED:
        raise StorageError(
            f"{folder.path}: its tokenizer makes {len(tried):,} tokens of {len(_TRIED)} characters. It is "
            "damaged, or made to fill the memory."
        )
    return tokenizer
