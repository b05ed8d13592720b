"""Language models among the samples: a causal language model, its tokenizer and its texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import nn

from ..concepts.sample import Sample
from ..concepts.sample_files import checked_bytes, read_story
from ..errors import StorageError
from ..libraries import TRANSFORMERS, need
from ..progress import Progress
from .concepts import LanguageConcepts
from .recall_task import Recall
from .smollm2 import PackagedModel
from .text_files import read_texts

__all__ = ["load_language_sample"]


def load_language_sample(folder: Path, config: dict[str, Any], progress: Progress | None = None) -> Sample:
    """Load a sample of kind ``causal-lm``: weights in its folder (float16), or in a package of their own.

    Either way the model computes in float32.

    Args:
        folder: of the sample.
        config: its config.json.
        progress: told while weights are converted, the first time.

    Returns:
        The model with its concepts and its task.

    Raises:
        DependencyError: if transformers, or the package with the weights, is not installed.
        StorageError: if a file is missing, damaged or of another version.
    """
    for name in config["sha256"]:
        checked_bytes(folder, name, config)
    texts = read_texts(folder / config["data"]["texts"])
    if "weights" in config:
        model, tokenizer = PackagedModel.of(folder.name, config).load(progress)
    else:
        model, tokenizer = _shipped(folder, config)
    return Sample(
        model=model,
        concepts=LanguageConcepts(tokenizer, texts),
        task=Recall(tokenizer, texts),
        image_shape=None,
        value_range=None,
        **read_story(folder, config),
    )


def _shipped(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, Any]:
    """Return the model and tokenizer whose files lie in the sample's own folder."""
    transformers = need("transformers", f"{folder.name} is a language model and")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        clean_up_tokenization_spaces=False,
        **config["special_tokens"],
    )
    options = dict(config["model"])
    kind = options.pop("model_type")
    state = load_tensors(checked_bytes(folder, "model.safetensors", config))
    # Random weights are drawn only to be replaced; the caller's random state should not notice.
    with TRANSFORMERS, torch.random.fork_rng(devices=[]):
        config = transformers.AutoConfig.for_model(kind, **options)
        model = transformers.AutoModelForCausalLM.from_config(config)
    found = model.load_state_dict({name: t.float() for name, t in state.items()}, strict=False)
    # The head is the embedding; it is stored once.
    missing = [name for name in found.missing_keys if name != "lm_head.weight"]
    if missing or found.unexpected_keys:
        raise StorageError(
            f"{folder / 'model.safetensors'} does not fit its config.json: {len(missing)} weights are "
            f"missing and {len(found.unexpected_keys)} are unknown. Restore the folder, or rebuild it "
            "with its train.py."
        )
    with TRANSFORMERS:
        model.tie_weights()
    return model.eval(), tokenizer
