"""What a layer reads of single inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import engram_core as ec
from engram_core.errors import UnknownNameError


def test_a_hidden_state_is_the_mean_of_what_the_layer_reads(sample, atlas, inputs):
    layer = atlas.layers[-1]
    found = ec.hidden_states(sample.model, atlas, inputs, layer)
    heard = []
    hook = sample.model.get_submodule(layer).register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    try:
        sample.model(torch.cat([c.record for c in inputs.singles().values()]))
    finally:
        hook.remove()
    np.testing.assert_allclose(found.matrix, heard[0].detach().numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(UnknownNameError):
        ec.hidden_states(sample.model, atlas, inputs, "nowhere")
