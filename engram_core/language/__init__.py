"""Language models: text concepts, token positions, recall."""

from .concepts import LanguageConcepts
from .lora import save_lora
from .recall import Recall, perplexity, recall
from .texts import TextConcept, TextItem, TextSet, read_texts
from .tokens import POSITIONS, encode

__all__ = [
    "POSITIONS",
    "LanguageConcepts",
    "Recall",
    "TextConcept",
    "TextItem",
    "TextSet",
    "encode",
    "perplexity",
    "read_texts",
    "recall",
    "save_lora",
]
