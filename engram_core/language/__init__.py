"""Language models: text concepts, token positions, recall, generation."""

from .concepts import LanguageConcepts
from .degenerate import damage, degenerate_rate, is_degenerate
from .export import about_texts, atlas_settings, edit_record, save_edited
from .generation import Alternative, Token, complete, generate, side_by_side
from .hub import load_language_model, load_language_subject
from .lora import adapter_folders, save_lora
from .next_token import next_tokens, token_changes
from .recall import Recall, perplexity, recall, recall_summary
from .texts import TextConcept, TextItem, TextSet, read_texts
from .token_maps import module_energy, module_kinds, reactivation_map
from .tokens import POSITIONS, encode

__all__ = [
    "POSITIONS",
    "Alternative",
    "LanguageConcepts",
    "Recall",
    "TextConcept",
    "TextItem",
    "TextSet",
    "Token",
    "about_texts",
    "adapter_folders",
    "atlas_settings",
    "complete",
    "damage",
    "degenerate_rate",
    "edit_record",
    "encode",
    "generate",
    "is_degenerate",
    "load_language_model",
    "load_language_subject",
    "module_energy",
    "module_kinds",
    "next_tokens",
    "perplexity",
    "reactivation_map",
    "read_texts",
    "recall",
    "recall_summary",
    "save_edited",
    "save_lora",
    "side_by_side",
    "token_changes",
]
