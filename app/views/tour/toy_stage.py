"""The first step's figure: one slider from rows to an engram, its last two stages behind the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engram_core.progress import drain

from ...compute.experiments import EXPERIMENTS
from ...compute.toy_engram import ToyEngram, toy_engram
from ...figures.charts.toy import toy_figure
from ...figures.words.as_text import Markdown
from ...figures.words.toy import STAGES, say_matrix, say_stage
from ...page import headings, parts
from ...session import state
from .lessons import Lesson

__all__ = ["AFTER", "draw"]

AFTER: Mapping[str, Any] = {"stage": STAGES[2]}
"""Where the slider stands when the answer opens."""


def draw(lesson: Lesson, *, opened: bool) -> pd.DataFrame | None:
    """Draw the stage that the slider stands at.

    Args:
        lesson: the step.
        opened: whether the last two stages are shown.

    Returns:
        What was measured, or None while the step is veiled.
    """
    offered = STAGES if opened else STAGES[:2]
    state.tidy("stage", offered)
    if st.session_state.get("stage") is None:
        st.session_state["stage"] = STAGES[2] if opened else STAGES[0]
    stage = st.select_slider("Stage", offered, key="stage", persist_state="session")
    toy = toy_engram()
    chart = toy_figure(
        stage, toy.rows, toy.moments, toy.weights, (toy.filter, toy.engram) if opened else None
    )
    said = say_stage(stage, toy.rows, toy.moments, toy.weights, toy.filter, toy.engram)
    st.plotly_chart(parts.on_screen(chart), config=parts.CHART, alt=said, key="lesson_toy")
    st.markdown(f"{_formula(stage, toy)}\n\n{said}")
    headings.note(
        lesson.reading if opened else f"{lesson.reading} Two stages are veiled until you have predicted."
    )
    return drain(EXPERIMENTS[lesson.experiment].asked(None)) if opened else None  # type: ignore[arg-type]


def _formula(stage: str, toy: ToyEngram) -> Markdown:
    if stage == STAGES[0]:
        return ""
    if stage == STAGES[1]:
        return rf"$\Sigma_A = {_matrix(toy.moments['A'])}\qquad \Sigma_B = {_matrix(toy.moments['B'])}$"
    if stage == STAGES[2]:
        return rf"$P_A = \Sigma_A\,(\Sigma_A + \Sigma_B)^\dagger = {_matrix(toy.filter)}$"
    return rf"$E_A = W P_A = {_matrix(toy.weights)}{_matrix(toy.filter)} = {_matrix(toy.engram)}$"


def _matrix(values: np.ndarray) -> Markdown:
    return say_matrix(values)
