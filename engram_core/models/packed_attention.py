"""Open the packed attention of ``nn.MultiheadAttention`` so that its four maps can be listened to.

The packed in-projection is a bare parameter and the out-projection's forward is bypassed, so no hook
on them ever fires. A view's attention modules are given the class below instead: the same
computation, by torch's own function, with a port on each input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["OpenAttention", "open_attention"]


class OpenAttention(nn.MultiheadAttention):
    """Multi-head attention that calls a port on query, key and value and its out-projection.

    Ports and out-projection always receive batch-first tensors ``(batch, positions, features)``.
    """

    q_port: nn.Module
    k_port: nn.Module
    v_port: nn.Module

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute attention as the base class does, without its fused path.

        Args:
            query: see ``nn.MultiheadAttention``.
            key: see ``nn.MultiheadAttention``.
            value: see ``nn.MultiheadAttention``.
            key_padding_mask: see ``nn.MultiheadAttention``.
            need_weights: see ``nn.MultiheadAttention``.
            attn_mask: see ``nn.MultiheadAttention``.
            average_attn_weights: see ``nn.MultiheadAttention``.
            is_causal: see ``nn.MultiheadAttention``.

        Returns:
            What the base class returns.
        """
        turn = query.dim() == 3 and not self.batch_first

        def listen(port: nn.Module, x: Tensor) -> None:
            port(x.transpose(0, 1) if turn else x)

        listen(self.q_port, query)
        listen(self.k_port, key)
        listen(self.v_port, value)
        if query.dim() == 3 and self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        packed = self.in_proj_weight is not None
        separate: dict[str, Any] = (
            {}
            if packed
            else {
                "use_separate_proj_weight": True,
                "q_proj_weight": self.q_proj_weight,
                "k_proj_weight": self.k_proj_weight,
                "v_proj_weight": self.v_proj_weight,
            }
        )
        # An identity in place of the out-projection leaves exactly what the out-projection reads.
        identity = torch.eye(self.embed_dim, device=query.device, dtype=query.dtype)
        context, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            identity,
            None,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            **separate,
        )
        if context.dim() == 3:
            out = self.out_proj(context.transpose(0, 1))
            return (out if self.batch_first else out.transpose(0, 1)), weights
        return self.out_proj(context), weights


def open_attention(view: nn.Module) -> None:
    """Give every plain ``nn.MultiheadAttention`` in `view` ports; `view` must be a private copy.

    Args:
        view: a private view.
    """
    for module in view.modules():
        if type(module) is nn.MultiheadAttention:
            module.__class__ = OpenAttention
            for part in "qkv":
                module.add_module(f"{part}_port", nn.Identity())
            # TransformerEncoderLayer reads this flag to decide whether it may bypass the module.
            module._qkv_same_embed_dim = False
        elif isinstance(module, nn.TransformerEncoder):
            # Nested tensors only exist for the fused path, which is closed here.
            module.use_nested_tensor = False
