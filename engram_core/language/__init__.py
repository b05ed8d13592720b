"""Language models: text concepts, token positions, recall, generation."""

from .completion import complete
from .concepts import LanguageConcepts
from .damage_table import damage
from .degenerate import degenerate_rate, is_degenerate
from .exact_recall import recall, recall_summary
from .export import about_texts, atlas_settings, edit_record, save_edited
from .generation import Alternative, Token, generate, side_by_side
from .hub import load_language_model, load_language_subject
from .lora import adapter_folders, save_lora
from .module_sizes import module_energy, module_kinds
from .next_token import next_tokens, token_changes
from .recall_task import Recall
from .text_files import read_texts
from .text_loss import perplexity
from .texts import TextConcept, TextItem, TextSet
from .token_maps import reactivation_map
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
