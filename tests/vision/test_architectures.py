"""Architectures: what a config builds, and what a wrong one is told."""

from typing import Any

import pytest
import torch
from torch import nn

from engram_core.errors import DataError, UnknownNameError
from engram_core.vision.architectures import architecture_names, build

MLP: dict[str, Any] = {"widths": [12, 8, 5]}
CNN: dict[str, Any] = {
    "image_size": [28, 28],
    "channels": [4, 6],
    "pools": [[2, 2], [6, 4]],
    "widths": [16],
    "classes": 10,
}
OPTIONS = {"mlp": MLP, "cnn": CNN}


def make(architecture: str, **changes: Any) -> nn.Module:
    return build({"architecture": architecture, "options": {**OPTIONS[architecture], **changes}})


def weighted(model: nn.Module) -> dict[str, nn.Module]:
    return {name: layer for name, layer in model.named_modules() if list(layer.parameters(recurse=False))}


def test_every_name_builds() -> None:
    assert architecture_names() == sorted(OPTIONS)
    for name in architecture_names():
        assert isinstance(make(name), nn.Module)


def test_mlp_flattens_and_computes_what_its_layers_say() -> None:
    model = make("mlp")
    layers = weighted(model)
    assert list(layers) == ["fc1", "fc2"]
    x = torch.randn(3, 1, 3, 4)
    hidden = (x.reshape(3, 12) @ layers["fc1"].weight.T + layers["fc1"].bias).clamp(min=0)
    expected = hidden @ layers["fc2"].weight.T + layers["fc2"].bias
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model(x.reshape(3, 12)), expected)


@pytest.mark.parametrize("bias", [True, False])
def test_mlp_bias(bias: bool) -> None:
    for layer in weighted(make("mlp", bias=bias)).values():
        assert (layer.bias is not None) == bias


def test_cnn_layers_and_shapes() -> None:
    model = make("cnn")
    layers = weighted(model)
    assert list(layers) == ["conv1", "bn1", "conv2", "bn2", "fc1", "fc2"]
    for name, layer in layers.items():
        assert (layer.bias is None) == name.startswith("conv")
    assert layers["fc1"].in_features == 6 * 3 * 3
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_cnn_other_sizes() -> None:
    model = make("cnn", image_size=[9, 12], in_channels=3, channels=[5], pools=[[3, 3]], kernel=5, widths=[])
    assert list(weighted(model)) == ["conv1", "bn1", "fc1"]
    assert model.get_submodule("fc1").in_features == 5 * 3 * 4
    assert model(torch.randn(2, 3, 9, 12)).shape == (2, 10)


def test_last_pool_sees_every_pixel() -> None:
    """The sample's pooling overlaps so that no row or column of 14 is left out."""
    pool = make("cnn").get_submodule("pool2")
    x = torch.zeros(1, 6, 14, 14, requires_grad=True)
    for row in range(14):
        probe = torch.zeros(1, 6, 14, 14)
        probe[..., row, row] = 1
        assert pool(probe).max() == 1
    assert pool(x).shape[2:] == (3, 3)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_no_layer_overwrites_its_input(architecture: str) -> None:
    """A recording hook keeps what a layer saw; an in-place layer after it would change that."""
    model = make(architecture).eval()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in model:
        layer.register_forward_hook(lambda _, args, out: seen.extend((t, t.clone()) for t in (*args, out)))
    model(torch.randn(2, 1, 28, 28) if architecture == "cnn" else torch.randn(2, 12))
    assert len(seen) == 2 * len(model)
    assert all(torch.equal(kept, copy) for kept, copy in seen)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_same_seed_same_weights_and_meta_draws_nothing(architecture: str) -> None:
    first, second = [], []
    for weights in (first, second):
        torch.manual_seed(3)
        weights.extend(make(architecture).state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    state = torch.get_rng_state()
    with torch.device("meta"):
        model = make(architecture)
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.is_meta for parameter in model.parameters())


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="architecture 'mlpp'.*'mlp'"):
        build({"architecture": "mlpp", "options": MLP})
    with pytest.raises(UnknownNameError, match="option of architecture 'mlp' 'width'.*'widths'"):
        make("mlp", width=[1, 2])


@pytest.mark.parametrize(
    "config", [{}, {"options": MLP}, {"architecture": "mlp", "options": [1]}, {"architecture": "mlp"}]
)
def test_incomplete_config(config: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="architecture|options|widths"):
        build(config)


@pytest.mark.parametrize(
    ("architecture", "option", "value"),
    [
        ("mlp", "widths", None),
        ("mlp", "widths", "64"),
        ("mlp", "widths", [64]),
        ("mlp", "widths", [64, 0, 10]),
        ("mlp", "widths", [64, 12.0, 10]),
        ("mlp", "widths", [64, True, 10]),
        ("mlp", "bias", 1),
        ("cnn", "image_size", [28]),
        ("cnn", "image_size", [28, 28, 1]),
        ("cnn", "in_channels", 0),
        ("cnn", "channels", []),
        ("cnn", "kernel", 4),
        ("cnn", "pools", [[2, 2]]),
        ("cnn", "pools", [[2, 2], [6]]),
        ("cnn", "pools", [[2, 2], [15, 4]]),
        ("cnn", "pools", 2),
        ("cnn", "widths", [0]),
        ("cnn", "classes", "10"),
        ("cnn", "classes", None),
    ],
)
def test_wrong_option_is_named(architecture: str, option: str, value: Any) -> None:
    with pytest.raises(DataError, match=f"Option '{option}' of architecture '{architecture}'") as caught:
        make(architecture, **{option: value})
    assert repr(value) in str(caught.value)
