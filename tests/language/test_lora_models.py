"""Adapters of models that are no causal language model: PEFT loads them, and they make the base the view."""

import copy
import json
from collections.abc import Callable

import peft
import pytest
import torch
import transformers as hf
from helpers import relative
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import engram_core as ec
from engram_core.errors import CoverageError
from engram_core.language import save_lora

pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2)
BERT = dict(vocab_size=40, max_position_embeddings=16, **SMALL)


def tokens(count: int, seed: int) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, 40, (count, 5), generator=torch.Generator().manual_seed(seed))}


def both(count: int, seed: int) -> dict[str, Tensor]:
    return tokens(count, seed) | {"decoder_input_ids": tokens(count, seed + 50)["input_ids"]}


def pictures(size: int) -> Callable[[int, int], Tensor]:
    def draw(count: int, seed: int) -> Tensor:
        return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) + 0.2

    return draw


def rows(count: int, seed: int) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) + 0.2


def series(count: int, seed: int) -> Tensor:
    return torch.randn(count, 4, 9, generator=torch.Generator().manual_seed(seed)) + 0.2


def volumes(count: int, seed: int) -> Tensor:
    return torch.randn(count, 2, 4, 4, 4, generator=torch.Generator().manual_seed(seed)) + 0.2


class Nested(nn.Module):
    """Names that end alike: `head` and `body.head`, of which PEFT would take both for one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"head": nn.Linear(6, 6), "fc": nn.Linear(6, 6)})
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body["fc"](torch.tanh(self.body["head"](x)))))


def vit() -> nn.Module:
    return hf.ViTForImageClassification(hf.ViTConfig(image_size=8, patch_size=4, num_labels=3, **SMALL))


def resnet() -> nn.Module:
    config = hf.ResNetConfig(embedding_size=4, hidden_sizes=[8, 12], depths=[1, 1], num_labels=3)
    return hf.ResNetForImageClassification(config)


def t5() -> nn.Module:
    config = hf.T5Config(
        d_model=16, d_kv=4, d_ff=24, num_layers=1, num_heads=4, vocab_size=40, decoder_start_token_id=0
    )
    return hf.T5ForConditionalGeneration(config)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int, int], object], str | None]] = {
    "sequence classification": (
        lambda: hf.BertForSequenceClassification(hf.BertConfig(**BERT)),
        tokens,
        None,
    ),
    "token classification": (lambda: hf.BertForTokenClassification(hf.BertConfig(**BERT)), tokens, None),
    "masked LM": (lambda: hf.BertForMaskedLM(hf.BertConfig(**BERT)), tokens, None),
    "encoder": (lambda: hf.BertModel(hf.BertConfig(**BERT)), tokens, None),
    "Llama classifier": (
        lambda: hf.LlamaForSequenceClassification(hf.LlamaConfig(vocab_size=40, pad_token_id=0, **SMALL)),
        tokens,
        None,
    ),
    "encoder and decoder": (t5, both, "SEQ_2_SEQ_LM"),
    "causal LM": (lambda: hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=40, **SMALL)), tokens, "CAUSAL_LM"),
    "ViT": (vit, pictures(8), None),
    "ResNet": (resnet, pictures(16), None),
    "plain": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), rows, None),
    "names that end alike": (Nested, rows, None),
    "Conv1d, grouped and not": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 6, 3, padding=1),
            nn.Tanh(),
            nn.Conv1d(6, 6, 3, groups=3, bias=False),
            nn.Tanh(),
            nn.Conv1d(6, 4, 3, stride=2, groups=2),
            nn.Flatten(),
            nn.Linear(12, 3),
        ),  # fmt: skip
        series,
        None,
    ),
    "Conv3d": (
        lambda: nn.Sequential(nn.Conv3d(2, 3, (1, 2, 2), padding="same"), nn.Tanh(), nn.Conv3d(3, 2, 3)),
        volumes,
        None,
    ),
    "parametrised": (
        lambda: nn.Sequential(
            parametrizations.weight_norm(nn.Linear(6, 8)),
            nn.Tanh(),
            parametrizations.orthogonal(nn.Linear(8, 3)),
        ),
        rows,
        None,
    ),
}


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().eval()
        with torch.no_grad():  # a fresh transformer answers nearly alike to everything
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def answer(model: nn.Module, x: object) -> Tensor:
    with torch.no_grad():
        found = model(**x) if isinstance(x, dict) else model(x)
    return found if isinstance(found, Tensor) else found[0]


@pytest.mark.parametrize("name", MODELS)
def test_the_base_with_the_adapter_is_the_edited_view(tmp_path, name: str) -> None:
    make, draw, task = MODELS[name]
    model = built(make)
    atlas = ec.extract(model, ec.record(model, {"a": draw(2, 1), "b": draw(4, 2)}))
    save_lora(atlas, "a", tmp_path, strength=0.8)
    told = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert told["task_type"] == task
    x = draw(3, 3)
    base, wanted = answer(model, x), answer(atlas.apply(erase={"a": 0.8}), x)
    assert relative(wanted, base) > 1e-3
    user = peft.PeftModel.from_pretrained(copy.deepcopy(model), str(tmp_path)).eval()
    assert relative(answer(user, x), wanted) < 1e-4
    adapted = {
        n.removesuffix(".lora_A.default") for n, _ in user.named_modules() if n.endswith(".lora_A.default")
    }
    assert {n.removeprefix("base_model.model.") for n in adapted} == set(atlas.layers)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_grouped_convolution_is_cut_group_by_group(tmp_path, rank: int) -> None:
    make, draw, _ = MODELS["Conv1d, grouped and not"]
    model = built(make)
    atlas = ec.extract(model, ec.record(model, {"a": draw(2, 1), "b": draw(4, 2)}))
    table = save_lora(atlas, "a", tmp_path, rank=rank, layers=["2"])
    left, right = (t.double() for t in atlas["a"].factors("2"))
    whole = left @ right
    u, s, vh = torch.linalg.svd(whole, full_matrices=False)
    best = (u[..., :rank] * s[:, None, :rank]) @ vh[:, :rank]
    assert float(table["error"][0]) == pytest.approx(float((whole - best).norm() / whole.norm()), abs=1e-6)
    user = peft.PeftModel.from_pretrained(copy.deepcopy(model), str(tmp_path)).eval()
    twin = copy.deepcopy(model)
    twin[2].weight.data -= best.reshape(twin[2].weight.shape).float()
    assert relative(answer(user, draw(3, 3)), answer(twin, draw(3, 3))) < 1e-4


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.ConvTranspose2d(3, 2, 2), "no LoRA of this form"),
        (nn.Conv2d(3, 2, 2, dilation=2), "no dilation"),
        (nn.Conv2d(3, 2, 2, padding=1, padding_mode="circular"), "'circular'"),
    ],
    ids=str,
)
def test_what_peft_cannot_say_names_the_layer_and_why(tmp_path, layer: nn.Module, said: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), layer)
    draw = pictures(5)
    atlas = ec.extract(model, ec.record(model, {"a": draw(2, 1), "b": draw(4, 2)}))
    with pytest.raises(CoverageError, match=rf"cannot hold 1 of the 2 layers \(1, .*{said}.*save_edited"):
        save_lora(atlas, "a", tmp_path)
    assert list(save_lora(atlas, "a", tmp_path, layers=["0"])["layer"]) == ["0"]


def test_a_layer_that_is_the_whole_model_has_no_adapter(tmp_path) -> None:
    model = nn.Linear(6, 3)
    atlas = ec.extract(model, ec.record(model, {"a": rows(2, 1), "b": rows(4, 2)}))
    with pytest.raises(CoverageError, match="this layer is the whole model"):
        save_lora(atlas, "a", tmp_path)


def test_the_adapter_of_a_quantised_model_fits_the_model_it_was_made_from(tmp_path) -> None:
    model = built(MODELS["plain"][0])
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear})
    atlas = ec.extract(quantised, ec.record(quantised, {"a": rows(2, 1), "b": rows(4, 2)}))
    save_lora(atlas, "a", tmp_path)
    user = peft.PeftModel.from_pretrained(copy.deepcopy(model), str(tmp_path)).eval()
    x = rows(3, 3)
    assert relative(answer(user, x), answer(atlas.apply(erase="a"), x)) < 0.03  # 8 bits against 32
