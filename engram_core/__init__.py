"""Engram Explorer's core: record a model, extract every concept's engram, edit, measure."""

from .concepts import Concept, ConceptSet
from .editing import Edit, LiveEdit, bake, live_edit
from .engram import Atlas, Engram, extract
from .identity import model_hash
from .layers import list_layers
from .recording import BACKGROUND, Recording, record
from .spectrum import Sharpness
from .tasks import Classification, Subject

__all__ = [
    "BACKGROUND",
    "Atlas",
    "Classification",
    "Concept",
    "ConceptSet",
    "Edit",
    "Engram",
    "LiveEdit",
    "Recording",
    "Sharpness",
    "Subject",
    "bake",
    "extract",
    "list_layers",
    "live_edit",
    "model_hash",
    "record",
]
