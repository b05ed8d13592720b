"""Engram Explorer's core: record a model, extract every concept's engram, edit, measure."""

from .checkup import CheckUp, check_up
from .concepts import Concept, ConceptSet
from .controls import gaussian_view, subset_atlas
from .criteria import Criteria, criteria, necessity, reactivation, responses, specificity, sufficiency
from .editing import Edit, LiveEdit, bake, live_edit
from .engram import Atlas, Engram, extract
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
from .tasks import Classification, Subject
from .trace_strengths import HiddenStates, TraceStrengths, hidden_states, trace_strengths

__all__ = [
    "BACKGROUND",
    "Atlas",
    "CheckUp",
    "Classification",
    "Concept",
    "ConceptSet",
    "Criteria",
    "Edit",
    "Engram",
    "LiveEdit",
    "Recommendation",
    "Recording",
    "Sample",
    "Sharpness",
    "Subject",
    "bake",
    "check_up",
    "confirm",
    "criteria",
    "draw_concepts",
    "exclusivity_table",
    "extract",
    "frontier",
    "gaussian_view",
    "layer_effects",
    "layer_groups",
    "layer_table",
    "list_layers",
    "live_edit",
    "load_sample",
    "load_subject",
    "model_hash",
    "necessity",
    "prepare",
    "reactivation",
    "recommend",
    "record",
    "responses",
    "sample_names",
    "sham",
    "specificity",
    "MapInputs",
    "draw_inputs",
    "JointProjection",
    "Projection",
    "joint_projection",
    "project",
    "EngramCosines",
    "engram_cosines",
    "HiddenStates",
    "TraceStrengths",
    "hidden_states",
    "trace_strengths",
    "subset_atlas",
    "sufficiency",
    "sufficiency_by_layer",
    "sweep",
]
