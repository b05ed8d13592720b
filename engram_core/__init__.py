"""Engram Explorer's core: record a model, extract every concept's engram, edit, measure."""

from .concepts import Concept, ConceptSet
from .controls import gaussian_view, subset_atlas
from .criteria import Criteria, criteria, necessity, reactivation, responses, specificity, sufficiency
from .editing import Edit, LiveEdit, bake, live_edit
from .engram import Atlas, Engram, extract
from .identity import model_hash
from .layers import list_layers
from .recording import BACKGROUND, Recording, record
from .samples import Sample, load_sample, sample_names
from .spectrum import Sharpness
from .tasks import Classification, Subject

__all__ = [
    "BACKGROUND",
    "Atlas",
    "Classification",
    "Concept",
    "ConceptSet",
    "Criteria",
    "Edit",
    "Engram",
    "LiveEdit",
    "Recording",
    "Sample",
    "Sharpness",
    "Subject",
    "bake",
    "criteria",
    "extract",
    "gaussian_view",
    "list_layers",
    "live_edit",
    "load_sample",
    "model_hash",
    "necessity",
    "reactivation",
    "record",
    "responses",
    "sample_names",
    "specificity",
    "subset_atlas",
    "sufficiency",
]
