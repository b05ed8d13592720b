"""Models that PEFT wraps: base weight and adapters are one map, in the view and in everything taken away."""

import copy
import warnings

import peft
import pytest
import torch
import transformers
from helpers import relative
from language_helpers import tiny
from torch import Tensor, nn

import engram_core as ec
from engram_core.errors import CoverageError, ModelMismatchError
from engram_core.language import save_edited, save_lora
from engram_core.models.layers import list_layers

pytestmark = pytest.mark.filterwarnings("ignore")

IDS = torch.arange(40).reshape(2, 20) * 7 % 256
NAMES = {
    "llama": ["q_proj", "v_proj", "down_proj"],
    "gpt2": ["c_attn", "c_fc"],
    "opt": ["q_proj", "fc1", "fc2"],
}


def ids(count: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"input_ids": torch.randint(3, 250, (count, 7), generator=generator)}


DATA = {"a": ids(2, 1), "b": ids(5, 2)}
FOLDED = {"a": ids(40, 3), "b": ids(40, 4)}


def wrapped(family: str = "llama", *, kind=peft.LoraConfig, targets=None, **options) -> peft.PeftModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind is peft.LoraConfig:
            options = {"r": 4, "lora_alpha": 16, "init_lora_weights": False, "lora_dropout": 0.2} | options
        config = kind(target_modules=targets or NAMES[family], **options)
        model = peft.get_peft_model(copy.deepcopy(tiny(family)), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def merged(model: peft.PeftModel) -> nn.Module:
    return copy.deepcopy(model).merge_and_unload().eval()


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def check(model: nn.Module, twin: nn.Module, folder=None, data=DATA) -> ec.Atlas:
    before = state(model)
    atlas, other = (ec.extract(m, ec.record(m, data)) for m in (model, twin))
    stem = "base_model.model." if isinstance(model, peft.PeftModel) else ""
    assert [name.removeprefix(stem) for name in atlas.layers] == other.layers
    base = logits(model)
    assert relative(base, logits(twin)) < 1e-4
    view, wanted = atlas.apply(erase={"a": 0.8}), other.apply(erase={"a": 0.8})
    assert relative(logits(view), logits(wanted)) < 1e-4
    assert relative(logits(view), base) > 1e-2
    for mine, theirs in zip(atlas.layers, other.layers, strict=True):
        assert atlas["a"].norm(mine) == pytest.approx(other["a"].norm(theirs), rel=1e-3)
    assert relative(logits(ec.bake(view)), logits(wanted)) < 1e-4
    if folder is not None:
        save_edited(view, folder / "whole")
        loaded = type(twin).from_pretrained(folder / "whole").eval()
        assert not list((folder / "whole").glob("adapter*"))
        assert relative(logits(loaded), logits(wanted)) < 1e-4
    kept, kept_twin = atlas.apply(keep=["a"]), other.apply(keep=["a"])
    assert relative(logits(kept), logits(kept_twin)) < 1e-3
    ec.live_edit(view).off()
    assert torch.equal(logits(view), base)
    after = state(model)
    assert list(before) == list(after) and all(torch.equal(before[n], after[n]) for n in before)
    return atlas


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {}),
        ("llama", {"use_rslora": True}),
        ("llama", {"use_dora": True}),
        ("gpt2", {"fan_in_fan_out": True}),
        ("opt", {"lora_bias": True}),
        ("opt", {"bias": "lora_only"}),
    ],
    ids=str,
)
def test_a_wrapped_model_is_edited_as_its_merged_twin(tmp_path, family: str, options: dict) -> None:
    model = wrapped(family, **options)
    check(model, merged(model), tmp_path)


def test_many_rows_are_edited_in_the_weight_in_force() -> None:
    model = wrapped()
    check(model, merged(model), data=FOLDED)


@pytest.mark.parametrize(
    "kind", [peft.LoHaConfig, peft.IA3Config, peft.OFTConfig, peft.VeraConfig], ids=lambda kind: kind.__name__
)
def test_other_adapters_that_merge_are_one_map_too(kind) -> None:
    more = {"feedforward_modules": ["down_proj"]} if kind is peft.IA3Config else {}
    targets = ["q_proj", "o_proj"] if kind is peft.VeraConfig else NAMES["llama"]
    model = wrapped(kind=kind, targets=targets, **more)
    check(model, merged(model))


def test_the_adapters_that_are_on_count() -> None:
    model = wrapped()
    torch.manual_seed(1)
    config = peft.LoraConfig(r=3, target_modules=["v_proj", "o_proj"], init_lora_weights=False)
    model.add_adapter("other", config)
    results = []
    for names in (["default"], ["other"], ["default", "other"]):
        model.base_model.set_adapter(names)
        atlas = check(model, merged(model))
        results.append(atlas["a"].weight("base_model.model.model.layers.0.self_attn.v_proj"))
    assert relative(results[0], results[1]) > 1e-2 and relative(results[1], results[2]) > 1e-2
    with model.disable_adapter():
        check(model, copy.deepcopy(model).unload())


def test_an_atlas_belongs_to_the_adapters_that_were_on(tmp_path) -> None:
    model = wrapped()
    atlas = ec.extract(model, ec.record(model, DATA))
    atlas.save(tmp_path / "atlas.safetensors")
    with model.disable_adapter():
        with pytest.raises(ModelMismatchError, match="adapters on: "):
            atlas.apply(erase="a")
        with pytest.raises(ModelMismatchError):
            ec.Atlas.load(tmp_path / "atlas.safetensors", model)
    again = ec.Atlas.load(tmp_path / "atlas.safetensors", model)
    assert torch.equal(logits(again.apply(erase="a")), logits(atlas.apply(erase="a")))


def test_what_wraps_no_plain_layer_says_what_to_do() -> None:
    model = wrapped(targets=["q_proj", "embed_tokens"])
    infos = {info.name: info for info in list_layers(model)}
    assert "table look-up" in infos["base_model.model.model.embed_tokens"].reason
    config = peft.LoraConfig(r=2, target_modules=["self_attn"], init_lora_weights=False)
    encoder = peft.get_peft_model(
        nn.Sequential(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)), config
    )
    infos = {info.name: info for info in list_layers(encoder)}
    assert "merge it into the model first" in infos["base_model.model.0.self_attn"].reason
    assert not any(".self_attn." in name for name in infos)


def test_an_adapter_that_acts_on_some_tokens_only_is_refused() -> None:
    model = wrapped(targets=["q_proj"], task_type="CAUSAL_LM", alora_invocation_tokens=[5, 6])
    infos = [info for info in list_layers(model) if info.name.endswith("q_proj")]
    assert infos and all(not i.covered and "cannot be merged by PEFT" in i.reason for i in infos)


def test_a_merged_adapter_counts_and_one_merged_and_switched_off_is_refused() -> None:
    model = wrapped()
    twin = merged(model)
    model.merge_adapter()
    check(model, twin)
    model.base_model.disable_adapter_layers()
    before = state(model)
    infos = {info.name: info for info in list_layers(model)}
    info = infos["base_model.model.model.layers.0.self_attn.q_proj"]
    assert not info.covered and "merged and switched off" in info.reason
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_adapters_that_transformers_added_itself(tmp_path) -> None:
    model = copy.deepcopy(tiny("llama"))
    torch.manual_seed(0)
    config = peft.LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    model.add_adapter(config)
    model.eval()
    twin = peft.get_peft_model(copy.deepcopy(tiny("llama")), config)
    values = {f"base_model.model.{name}": tensor for name, tensor in model.state_dict().items()}
    twin.load_state_dict(values)
    check(model, merged(twin), tmp_path)


def test_trained_copies_of_modules_are_the_layers_that_count(tmp_path) -> None:
    model = wrapped("llama with a head of its own", targets=["q_proj"], modules_to_save=["lm_head"])
    with torch.no_grad():
        model.base_model.model.lm_head.modules_to_save["default"].weight.mul_(1.5)
    atlas = ec.extract(model, ec.record(model, DATA))
    assert atlas.layers[-1] == "base_model.model.lm_head.modules_to_save.default"
    twin = merged(model)
    other = ec.extract(twin, ec.record(twin, DATA))
    view, wanted = atlas.apply(erase="a"), other.apply(erase="a")
    assert relative(logits(view), logits(wanted)) < 1e-4
    save_edited(view, tmp_path / "whole")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole").eval()
    assert relative(logits(loaded), logits(wanted)) < 1e-4
    with pytest.raises(CoverageError, match="modules_to_save"):
        save_lora(atlas, "a", tmp_path / "adapter")


def test_the_edit_of_a_wrapped_model_is_one_more_adapter_on_it(tmp_path) -> None:
    model = wrapped()
    atlas = ec.extract(model, ec.record(model, DATA))
    wanted = logits(atlas.apply(erase={"a": 0.7}))
    save_lora(atlas, "a", tmp_path, strength=0.7)
    user = copy.deepcopy(model)
    user.load_adapter(str(tmp_path), adapter_name="edit")
    user.base_model.set_adapter(["default", "edit"])
    assert relative(logits(user.eval()), wanted) < 1e-4
    user.base_model.set_adapter(["default"])
    assert relative(logits(user), logits(model)) < 1e-6


def test_a_wrapper_is_one_layer_and_names_its_adapter() -> None:
    infos = list_layers(wrapped())
    kinds = {info.name.removeprefix("base_model.model.model."): info.kind for info in infos if info.covered}
    assert kinds["layers.0.self_attn.q_proj"] == "Linear + LoRA"
    assert kinds["layers.0.self_attn.k_proj"] == "Linear"
    assert not any("lora_" in info.name or "base_layer" in info.name for info in infos)


def test_prompts_are_recorded_and_cannot_become_a_plain_model(tmp_path) -> None:
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(copy.deepcopy(tiny("llama")), config).eval()
    atlas = ec.extract(model, ec.record(model, DATA))
    view = atlas.apply(erase="a")
    assert relative(logits(view), logits(model)) > 1e-3
    with pytest.raises(CoverageError, match="adds inputs"):
        save_edited(view, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 4, 2, stride=2)
        self.head = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))).flatten(1))


@pytest.mark.parametrize("dora", [False, True])
def test_wrapped_convolutions(dora: bool) -> None:
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=["first", "head"], init_lora_weights=False, use_dora=dora)
    model = peft.get_peft_model(Conv(), config).eval()
    twin, x = merged(model), torch.randn(3, 3, 6, 6)
    data = {"a": torch.randn(4, 3, 6, 6), "b": torch.randn(6, 3, 6, 6) + 1}
    atlas, other = (ec.extract(m, ec.record(m, data)) for m in (model, twin))
    assert atlas.linear_map("base_model.model.first").kind == "Conv2d + LoRA"
    with torch.no_grad():
        view, wanted = atlas.apply(erase="b"), other.apply(erase="b")
        assert relative(view(x), wanted(x)) < 1e-4
        assert relative(ec.bake(view)(x), wanted(x)) < 1e-4
        ec.live_edit(view).off()
        assert torch.equal(view(x), model(x))


def test_half_precision_is_merged_in_full(tmp_path) -> None:
    model = wrapped().to(torch.bfloat16)
    atlas = ec.extract(model, ec.record(model, DATA))
    twin = merged(copy.deepcopy(model).float())
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    expected = twin.get_submodule(layer.removeprefix("base_model.model.")).weight
    assert relative(atlas.matrix(layer)[0], expected) < 1e-6
    baked = ec.bake(atlas.apply(erase="a"))
    assert baked.get_submodule(layer).weight.dtype == torch.bfloat16


def test_warnings_of_peft_stay_away() -> None:
    model = wrapped()
    model.merge_adapter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ec.extract(model, ec.record(model, DATA))
