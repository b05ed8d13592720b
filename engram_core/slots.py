"""The forms a linear map takes in a model, one file each in `linear_maps`."""

from __future__ import annotations

from .linear_maps import AttentionSlot, Conv1DSlot, Conv2dSlot, ConvSlot, Slot, TransposedConvSlot

__all__ = ["AttentionSlot", "Conv1DSlot", "Conv2dSlot", "ConvSlot", "Slot", "TransposedConvSlot"]
