"""Engram Explorer's core: record a model, extract every concept's engram, edit, measure."""

from .checkup import CheckUp, check_up
from .concepts import Concept, ConceptSet
from .controls import gaussian_view, significance, subset_atlas
from .criteria import Criteria, criteria, necessity, reactivation, responses, specificity, sufficiency
from .editing import Edit, LiveEdit, bake, live_edit
from .engram import Atlas, Engram, extract
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
from .gain_loss import selective_effect
from .groups import layer_groups
from .identity import model_hash
from .keeping import sufficiency_by_layer
from .layer_tables import exclusivity_table, layer_effects, layer_table
from .layers import list_layers
from .map_inputs import MapInputs, draw_inputs
from .preparing import prepare
from .projection import JointProjection, Projection, joint_projection, project
from .recommending import Recommendation, recommend
from .recording import BACKGROUND, Recording, record
from .samples import Sample, load_sample, sample_names
from .similarity import EngramCosines, engram_cosines
from .spectrum import Sharpness
from .subjects import load_subject
from .sweep import confirm, draw_concepts, frontier, sham, sweep
from .tasks import Classification, Scores, Subject, Task
from .trace_strengths import HiddenStates, TraceStrengths, hidden_states, trace_strengths

__all__ = [
    # Open a model with its concepts
    "Classification", "Concept", "ConceptSet", "Sample", "Scores", "Subject", "Task", "CheckUp", "check_up",
    "load_sample", "load_subject", "sample_names", "prepare",
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
