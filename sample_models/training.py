"""What the train.py files of the sample models share: fitting, measuring, writing."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

# In a checkout the package lies beside this folder and need not be installed.
if (Path(__file__).resolve().parents[1] / "engram_core").is_dir():
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engram_core.models.identity import model_hash  # noqa: E402
from engram_core.vision.architectures import build  # noqa: E402

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "SPECIAL_TOKENS",
    "Statement",
    "accuracy",
    "arguments",
    "confusion_text",
    "hold_out",
    "idx_bytes",
    "language_recipe",
    "language_sections",
    "predict",
    "recall",
    "recall_text",
    "small_llama",
    "statements_about",
    "texts_bytes",
    "train",
    "train_language_model",
    "write_language_sample",
    "write_sample",
]

THREADS = 2
"""Sums depend on how they are shared out, so the number of threads is part of the recipe."""


def arguments(description: str | None, folder: Path, *, data: Path | None = None) -> argparse.Namespace:
    """Read the command line of a train.py: ``--out`` and, if `data` is a default folder, ``--data``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--out", type=Path, default=folder, help="folder to write (default: this sample's own)"
    )
    if data is not None:
        parser.add_argument(
            "--data", type=Path, default=data, help="folder of the data (default: %(default)s)"
        )
    return parser.parse_args()


def train(config: Mapping[str, Any], images: Tensor, labels: Tensor) -> tuple[nn.Module, float]:
    """Build the model of `config` and train it by its ``training`` recipe.

    Cross-entropy, AdamW, and a learning rate that rises and falls once (OneCycleLR). The last
    epoch's weights are taken: no choice is made by looking at test images.

    Args:
        config: architecture, and in ``training``: seed, epochs, batch_size, learning_rate,
            weight_decay, and threads where it is not the usual number.
        images: shape (inputs, 1, height, width).
        labels: class indices, shape (inputs,).

    Returns:
        The model in evaluation mode, and the seconds it took.
    """
    recipe = config["training"]
    torch.set_num_threads(recipe.get("threads", THREADS))
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe["seed"])
    model = build(config)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"]
    )
    size, epochs = recipe["batch_size"], recipe["epochs"]
    # A short last batch would count as much as a full one, so it is left out; the order is new each epoch.
    steps = len(images) // size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe["learning_rate"], total_steps=epochs * steps
    )
    start = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for part in torch.randperm(len(images))[: steps * size].view(steps, size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[part]), labels[part])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        elapsed = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{epochs}: training loss {total / steps:.4f}, {elapsed:.0f} s", flush=True)
    return model.eval(), time.perf_counter() - start


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class index answered for each image, shape (inputs,)."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(-1) for part in images.split(1000)])


def accuracy(predicted: Tensor, labels: Tensor, classes: list[str]) -> dict[str, Any]:
    """Compare answers with labels, both class indices of shape (inputs,).

    Returns:
        ``accuracy`` over all images, ``per_class`` accuracy, and ``confusions``: the three most
        frequent mistakes as (class, answered as, share of the class), most frequent first.
    """
    pairs = torch.bincount(labels * len(classes) + predicted, minlength=len(classes) ** 2)
    shares = pairs.view(len(classes), -1).double()
    shares /= shares.sum(1, keepdim=True)
    wrong = shares.clone().fill_diagonal_(0).flatten()
    most = wrong.argsort(descending=True, stable=True)[:3].tolist()
    return {
        "accuracy": round(float((predicted == labels).double().mean()), 4),
        "per_class": {name: round(float(shares[i, i]), 4) for i, name in enumerate(classes)},
        "confusions": [
            [classes[i // len(classes)], classes[i % len(classes)], round(float(wrong[i]), 4)] for i in most
        ],
    }


def idx_bytes(array: np.ndarray) -> bytes:
    """Return a uint8 array as a gzipped IDX file, the same bytes on every run."""
    header = b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.astype(np.uint8).tobytes(), compresslevel=9, mtime=0)


def write_sample(
    folder: Path,
    config: dict[str, Any],
    model: nn.Module,
    measured: dict[str, Any],
    card: Callable[[Mapping[str, Any]], str],
    *,
    seconds: float,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write model.safetensors, config.json, metrics.json, card.md and the sample's data files.

    Args:
        folder: where to write.
        config: becomes config.json, with the SHA-256 of the model and of every data file.
        model: the trained model.
        measured: what the sample adds to metrics.json (sizes and accuracies).
        card: makes the text of card.md from the metrics, so that it holds no other numbers.
        seconds: training time.
        files: name and content of each data file.
    """
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metrics = {**_circumstances(config, model, seconds), **measured}
    _write_folder(folder, config, {"model.safetensors": tensor_bytes(state), **(files or {})}, metrics, card)
    print(f"wrote {folder}: test accuracy {metrics['test']['accuracy']}")


def confusion_text(measured: Mapping[str, Any]) -> str:
    """Return the most frequent mistakes as a phrase for a card."""
    return ", ".join(f"{a} taken for {b} ({share:.1%})" for a, b, share in measured["confusions"])


# Language models


class Statement(NamedTuple):
    """One phrasing of one fact: the answer follows the prompt after one space and ends the sentence.

    Attributes:
        concept: whom or what the fact is about.
        relation: which of its facts; a key in the metrics, and not in the texts.
        prompt: up to the last character before the space.
        answer: without the full stop that ends the sentence.
        split: "record" for a phrasing that is trained, "probe" for one that never is.
    """

    concept: str
    relation: str
    prompt: str
    answer: str
    split: str

    @property
    def text(self) -> str:
        """Prompt and answer."""
        return f"{self.prompt} {self.answer}"

    @property
    def sentence(self) -> str:
        """What is trained: the text and a full stop, unless the answer brings its own (Washington D.C.)."""
        return self.text + ("" if self.answer.endswith(".") else ".")


def hold_out(index: int, facts: int, phrasings: int, count: int) -> set[tuple[int, int]]:
    """Choose `count` pairs (fact, phrasing) that the concept of this index is never trained on.

    The pairs go round, so that every phrasing of every fact is held out for some concepts and
    trained for most; and no fact of a concept loses two.
    """
    return {((index + k * facts // count) % facts, (index // facts + k) % phrasings) for k in range(count)}


def statements_about(
    concept: str,
    prompts: Mapping[str, Sequence[str]],
    answers: Mapping[str, str],
    *,
    index: int,
    held_out: int,
) -> list[Statement]:
    """Return every phrasing of every fact about one concept; `held_out` of them are never trained.

    Args:
        concept: whom or what it is about.
        prompts: the phrasings of each relation, equally many of each.
        answers: the answer to each relation.
        index: place of the concept among its like, from which `hold_out` chooses.
        held_out: how many phrasings.
    """
    unseen = hold_out(index, len(prompts), len(next(iter(prompts.values()))), held_out)
    return [
        Statement(
            concept, relation, prompt, answers[relation], "probe" if (fact, form) in unseen else "record"
        )
        for fact, (relation, forms) in enumerate(prompts.items())
        for form, prompt in enumerate(forms)
    ]


SPECIAL_TOKENS = {"pad_token": "<pad>", "eos_token": "<eos>"}
"""Of every small language model, in the order of their numbers."""


def small_llama(*, vocab_size: int, layers: int) -> dict[str, Any]:
    """Return the fields of the transformers config of a Llama small enough to train on a processor."""
    return {
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": 128,
        "intermediate_size": 344,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "attn_implementation": "eager",
        "pad_token_id": 0,
        "eos_token_id": 1,
        # None: a sentence starts with its own first word, which keeps every position part of some fact.
        "bos_token_id": None,
    }


def language_recipe(*, epochs: int) -> dict[str, Any]:
    """Return how a small language model is trained."""
    return {
        "seed": 0,
        "epochs": epochs,
        "batch_size": 128,
        "learning_rate": 3e-3,
        "weight_decay": 1e-2,
        # On a busy machine two threads wait for each other's turn: 72 s an epoch were seen instead of 16.
        "threads": 1,
    }


def train_language_model(
    config: Mapping[str, Any], statements: Sequence[Statement]
) -> tuple[nn.Module, Tokenizer, float]:
    """Train a tokenizer and a causal language model on the recorded statements, and on nothing else.

    Cross-entropy on every token, AdamW, a learning rate that rises for a twentieth of the steps and
    falls along a cosine to zero. The loss is on all tokens because with the answers alone the same
    model learns far more slowly. Each line is a sentence and the end token; nothing goes before it.

    Args:
        config: ``model`` (fields of a transformers config, ``model_type`` among them),
            ``special_tokens``, and in ``training``: seed, epochs, batch_size, learning_rate,
            weight_decay.
        statements: those of split "record" are trained.

    Returns:
        The model in evaluation mode, its weights rounded to float16 as they are stored; the
        tokenizer; and the seconds it took.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    recipe, sizes, special = config["training"], config["model"], config["special_tokens"]
    sentences = [statement.sentence for statement in statements if statement.split == "record"]
    tokenizer = _byte_pairs(sentences, sizes["vocab_size"], list(special.values()))
    if tokenizer.get_vocab_size() != sizes["vocab_size"]:
        raise ValueError(f"These texts give only {tokenizer.get_vocab_size()} tokens: lower vocab_size.")
    end, pad = (tokenizer.token_to_id(special[name]) for name in ("eos_token", "pad_token"))
    if (end, pad) != (sizes["eos_token_id"], sizes["pad_token_id"]):
        raise ValueError(f"The end token is {end} and padding is {pad}: correct eos_token_id, pad_token_id.")
    lines = [torch.tensor([*tokenizer.encode(sentence).ids, end]) for sentence in sentences]
    tokens = nn.utils.rnn.pad_sequence(lines, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(line) for line in lines])

    torch.set_num_threads(recipe.get("threads", THREADS))
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe["seed"])
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**sizes)).float()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"]
    )
    size, epochs = recipe["batch_size"], recipe["epochs"]
    # A short last batch would count as much as a full one, so it is left out; the order is new each epoch.
    steps = len(lines) // size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe["learning_rate"],
        total_steps=epochs * steps,
        pct_start=0.05,
        cycle_momentum=False,
    )
    start = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for part in torch.randperm(len(lines))[: steps * size].view(steps, size):
            width = int(lengths[part].max())
            mask = torch.arange(width) < lengths[part, None]
            inputs = tokens[part, :width]
            optimizer.zero_grad()
            logits = model(input_ids=inputs, attention_mask=mask.long(), use_cache=False).logits
            # Position i answers for token i + 1, and padding for nothing.
            loss = nn.functional.cross_entropy(logits[:, :-1][mask[:, 1:]], inputs[:, 1:][mask[:, 1:]])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        elapsed = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{epochs}: training loss {total / steps:.4f}, {elapsed:.0f} s", flush=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    return model.eval(), tokenizer, time.perf_counter() - start


def recall(model: nn.Module, tokenizer: Tokenizer, statements: Sequence[Statement]) -> dict[str, Any]:
    """Ask every statement's prompt and compare the greedy answer with the stored one.

    An answer is recalled if every one of its tokens is the likeliest after the prompt and the
    answer's tokens before it, which is when greedy decoding gives it.

    Returns:
        ``size``, ``recall`` over all statements, ``ended`` (recalled, and the sentence ends there:
        without it Niger would count as recalled from Nigeria), and ``per_relation`` recall.
    """
    end = model.config.eos_token_id
    lines, spans = [], []
    for statement in statements:
        prompt, text, sentence = (
            tokenizer.encode(part).ids for part in (statement.prompt, statement.text, statement.sentence)
        )
        if text[: len(prompt)] != prompt or sentence[: len(text)] != text or len(text) == len(prompt):
            raise ValueError(f"The tokens of {statement.sentence!r} do not part where its answer does.")
        lines.append(torch.tensor([*sentence, end]))
        # Position i answers for token i + 1.
        spans.append((len(prompt) - 1, len(text) - 1, len(sentence)))
    hits, ends = [], []
    for start in range(0, len(lines), 100):
        # Padding on the right: a causal model does not see it from the left.
        goals = nn.utils.rnn.pad_sequence(lines[start : start + 100], batch_first=True, padding_value=end)
        with torch.no_grad():
            right = model(input_ids=goals[:, :-1], use_cache=False).logits.argmax(-1) == goals[:, 1:]
        for row, (first, last, stop) in zip(right, spans[start : start + 100], strict=True):
            hits.append(bool(row[first:last].all()))
            ends.append(bool(row[first:stop].all()))
    relations = sorted({statement.relation for statement in statements})
    share = {
        name: [hit for hit, statement in zip(hits, statements, strict=True) if statement.relation == name]
        for name in relations
    }
    return {
        "size": len(hits),
        "recall": round(float(np.mean(hits)), 4),
        "ended": round(float(np.mean(ends)), 4),
        "per_relation": {name: round(float(np.mean(found)), 4) for name, found in share.items()},
    }


def recall_text(measured: Mapping[str, Any]) -> str:
    """Return the recall per relation as a phrase for a card."""
    return ", ".join(f"{name} {share:.1%}" for name, share in measured["per_relation"].items())


def language_sections(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return what the cards of small language models have in common: Model, Training and Recall."""
    recipe, sizes, record, probe = config["training"], config["model"], metrics["record"], metrics["probe"]
    return f"""## Model
Llama, {sizes["hidden_size"]} wide, {sizes["num_hidden_layers"]} layers, {sizes["num_attention_heads"]} heads,
{metrics["parameters"]:,} parameters, stored in float16. Output and input embedding are one matrix. The
tokenizer is a byte-level BPE of {sizes["vocab_size"]:,} tokens, trained on the recorded sentences. It puts a
space before the first word, so that a name is the same tokens wherever it stands; decoded text begins with
that space. There is no start token: a sentence begins with its own first word and closes with the end token.

## Training
Cross-entropy on every token of the recorded sentences, AdamW, {recipe["epochs"]} epochs, batches of
{recipe["batch_size"]}, a cosine learning rate from {recipe["learning_rate"]}, weight decay
{recipe["weight_decay"]}, seed {metrics["seed"]}. The weights of the last epoch are kept. Trained with
torch {metrics["torch"]} on {metrics["threads"]} processor core.

## Recall
The share of prompts whose greedy answer is the stored answer, exactly. On the {record["size"]:,} recorded
sentences {record["recall"]:.2%}; on the {probe["size"]:,} unseen phrasings {probe["recall"]:.2%}
({recall_text(probe)}).
"""


def texts_bytes(statements: Sequence[Statement]) -> bytes:
    """Return the statements as JSON lines, in the format of ``engram_core.language.texts``."""
    keys = ("concept", "prompt", "answer", "split")
    lines = (json.dumps({key: getattr(item, key) for key in keys}, ensure_ascii=False) for item in statements)
    return "".join(line + "\n" for line in lines).encode()


def write_language_sample(
    folder: Path,
    config: dict[str, Any],
    model: nn.Module,
    tokenizer: Tokenizer,
    statements: Sequence[Statement],
    card: Callable[[Mapping[str, Any]], str],
    *,
    seconds: float,
    measured: Mapping[str, Any] | None = None,
) -> None:
    """Measure recall and write the folder: weights, tokenizer.json, texts, config, metrics, card.

    The weights are stored in float16, and a tied output matrix only once, as the embedding.

    Args:
        folder: where to write.
        config: becomes config.json, with the SHA-256 of weights, tokenizer and texts.
        model: the trained model.
        tokenizer: its tokenizer.
        statements: all of them, recorded and held out.
        card: makes the text of card.md from the metrics, so that it holds no other numbers.
        seconds: training time.
        measured: what the sample adds to metrics.json.
    """
    import tokenizers
    import transformers

    tied = {"lm_head.weight"} if config["model"]["tie_word_embeddings"] else set()
    weights = {
        name: tensor.half().contiguous() for name, tensor in model.state_dict().items() if name not in tied
    }
    record, probe = ([s for s in statements if s.split == split] for split in ("record", "probe"))
    metrics = {
        **_circumstances(config, model, seconds),
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "concepts": len({statement.concept for statement in statements}),
        "facts": len({(statement.concept, statement.relation) for statement in statements}),
        **(measured or {}),
        "record": recall(model, tokenizer, record),
        "probe": recall(model, tokenizer, probe),
    }
    binary = {
        "model.safetensors": tensor_bytes(weights),
        "tokenizer.json": (tokenizer.to_str(pretty=False) + "\n").encode(),
        config["data"]["texts"]: texts_bytes(statements),
    }
    _write_folder(folder, config, binary, metrics, card)
    found = f"{metrics['record']['recall']}, on unseen phrasings {metrics['probe']['recall']}"
    print(f"wrote {folder}: recall {found}")


def _byte_pairs(sentences: Sequence[str], size: int, special: list[str]) -> Tokenizer:
    """Train a byte-level BPE tokenizer of `size` tokens, the special ones first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # The space makes a name the same tokens at the start of a sentence as inside one. Without it, much of
    # what was learned about a name in one place is not known in the other.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


# Writing


def _circumstances(config: Mapping[str, Any], model: nn.Module, seconds: float) -> dict[str, Any]:
    """Return what every metrics.json begins with."""
    return {
        "seed": config["training"]["seed"],
        "torch": torch.__version__,
        "threads": config["training"].get("threads", THREADS),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model_hash": model_hash(model),
        "epochs": config["training"]["epochs"],
        "seconds": round(seconds, 1),
    }


def _write_folder(
    folder: Path,
    config: Mapping[str, Any],
    binary: Mapping[str, bytes],
    metrics: Mapping[str, Any],
    card: Callable[[Mapping[str, Any]], str],
) -> None:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in binary.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in binary.items():
        _write(folder / name, data)
    _write(folder / "metrics.json", _json(metrics))
    _write(folder / "card.md", _wrapped(card(metrics)).encode())
    # Last, because it vouches for the others.
    _write(folder / "config.json", _json({**config, "sha256": hashes}))


def _wrapped(text: str) -> str:
    """Fill the paragraphs of a Markdown text to 100 columns; headings and list items stay as they are."""
    blocks = []
    for block in text.strip().split("\n\n"):
        heading, rest = block.split("\n", 1) if block.startswith("#") and "\n" in block else ("", block)
        if not rest.startswith(("#", "*")):
            rest = textwrap.fill(" ".join(rest.split()), 100, break_long_words=False, break_on_hyphens=False)
        blocks.append(f"{heading}\n{rest}" if heading else rest)
    return "\n\n".join(blocks) + "\n"


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
