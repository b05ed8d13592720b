"""Engram Explorer's core: record a model, extract every concept's engram, edit, measure."""

from .atlas import Atlas, extract
from .concepts.classification import Classification
from .concepts.concepts import BACKGROUND, Concept, ConceptSet
from .concepts.sample import Sample
from .concepts.tasks import Scores, Subject, Task
from .editing.edit import Edit
from .editing.live_edit import LiveEdit, bake, live_edit
from .errors import (
    ConceptOutsideTotalError,
    CoverageError,
    DataError,
    DependencyError,
    EffectError,
    EngramError,
    LimitError,
    ModelMismatchError,
    NonFiniteError,
    StorageError,
    UnknownNameError,
)
from .mapping.inputs import MapInputs, draw_inputs
from .mapping.projection import JointProjection, Projection, joint_projection, project
from .mapping.strengths import HiddenStates, TraceStrengths, hidden_states, trace_strengths
from .measuring.by_layer import layer_effects
from .measuring.criteria import (
    Criteria,
    criteria,
    necessity,
    reactivation,
    responses,
    specificity,
    sufficiency,
)
from .measuring.kept_alone import sufficiency_by_layer
from .measuring.scores import selective_effect
from .measuring.shams import gaussian_view, subset_atlas
from .measuring.significance import significance
from .models.groups import layer_groups
from .models.identity import model_hash
from .models.layers import list_layers
from .opening.checkup import CheckUp, check_up
from .opening.explorer import Explorer, explore
from .opening.load import load_subject
from .opening.prepared import prepare
from .opening.samples import load_sample, sample_names
from .recording.record import record
from .recording.recording import Recording
from .solving.engram import Engram
from .solving.filters import Sharpness
from .solving.similarity import EngramCosines, engram_cosines
from .solving.tables import exclusivity_table, layer_table
from .tuning.recommend import Recommendation, recommend
from .tuning.sweep import confirm, draw_concepts, frontier, sham, sweep

__all__ = [
    # Open a model with its concepts
    "Classification", "Concept", "ConceptSet", "Sample", "Scores", "Subject", "Task", "CheckUp", "check_up",
    "load_sample", "load_subject", "sample_names", "prepare", "Explorer", "explore",
    # Record
    "BACKGROUND", "Recording", "list_layers", "model_hash", "record",
    # Extract
    "Atlas", "Engram", "Sharpness", "extract",
    # Edit
    "Edit", "LiveEdit", "bake", "live_edit",
    # Measure, with controls
    "Criteria", "criteria", "necessity", "reactivation", "responses", "specificity", "sufficiency",
    "sufficiency_by_layer", "exclusivity_table", "layer_effects", "layer_groups", "layer_table",
    "gaussian_view", "subset_atlas", "selective_effect", "significance",
    # Tune the strength
    "Recommendation", "confirm", "draw_concepts", "frontier", "recommend", "sham", "sweep",
    # Map
    "EngramCosines", "HiddenStates", "JointProjection", "MapInputs", "Projection", "TraceStrengths",
    "draw_inputs", "engram_cosines", "hidden_states", "joint_projection", "project", "trace_strengths",
    # What can go wrong
    "ConceptOutsideTotalError", "CoverageError", "DataError", "DependencyError", "EffectError", "EngramError",
    "LimitError",
    "ModelMismatchError", "NonFiniteError", "StorageError", "UnknownNameError",
]  # fmt: skip
