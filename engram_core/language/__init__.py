"""Language models: text concepts, token positions, recall."""

from .recall import Recall, perplexity, recall
from .recording import record_texts
from .texts import TextConcept, TextItem, TextSet, read_texts
from .tokens import POSITIONS, encode

__all__ = [
    "POSITIONS",
    "Recall",
    "TextConcept",
    "TextItem",
    "TextSet",
    "encode",
    "perplexity",
    "read_texts",
    "recall",
    "record_texts",
]
