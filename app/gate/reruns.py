"""Requests for a run of a page that have not been handed on yet: many become one.

A slider that is dragged asks for a run at every step, and only the last one matters. Streamlit starts a
thread for each.
"""

from __future__ import annotations

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.WidgetStates_pb2 import WidgetState

__all__ = ["Pending", "TooMuch"]

_TRIGGERS = frozenset({"trigger_value", "string_trigger_value", "chat_input_value", "json_trigger_value"})
_MOST_FRAGMENTS = 8


class TooMuch(Exception):
    """More widgets than a page can have."""


class Pending:
    """What a visit has asked for and not been given.

    Args:
        most_widgets: widgets that may be set.
    """

    def __init__(self, most_widgets: int) -> None:
        self._most = most_widgets
        # By fragment, in the order of asking; "" is the whole page, which holds all of them.
        self._asked: dict[str, ClientState] = {}

    def __bool__(self) -> bool:
        return bool(self._asked)

    def add(self, state: ClientState) -> None:
        """Put a request with those that wait.

        Raises:
            TooMuch: if they set more widgets together than a page can have.
        """
        fragment = state.fragment_id
        whole = (
            not fragment
            or "" in self._asked
            or (fragment not in self._asked and len(self._asked) >= _MOST_FRAGMENTS)
        )
        if whole:
            for older in reversed(self._asked.values()):
                state = _together(older, state)
            state.fragment_id = ""
            self._asked = {"": state}
        else:
            older_one = self._asked.get(fragment)
            self._asked[fragment] = state if older_one is None else _together(older_one, state)
        if sum(len(waiting.widget_states.widgets) for waiting in self._asked.values()) > self._most:
            raise TooMuch

    def take(self) -> ClientState:
        """Return what is to be run next."""
        return self._asked.pop(next(iter(self._asked)))


def _together(older: ClientState, newer: ClientState) -> ClientState:
    """Return the newer request, with what only the older one has said.

    A press of a button is sent once and never again: it must not get lost in what comes after it.
    """
    states: dict[str, WidgetState] = {state.id: state for state in older.widget_states.widgets}
    for state in newer.widget_states.widgets:
        before = states.get(state.id)
        if before is None or not _pressed(before) or _pressed(state):
            states[state.id] = state
    result = ClientState()
    result.CopyFrom(newer)
    del result.widget_states.widgets[:]
    result.widget_states.widgets.extend(states.values())
    if older.is_history_navigation and older.query_string == newer.query_string:
        result.is_history_navigation = True
    return result


def _pressed(state: WidgetState) -> bool:
    kind = state.WhichOneof("value")
    if kind not in _TRIGGERS:
        return False
    value = getattr(state, kind)
    return bool(value.ListFields()) if hasattr(value, "ListFields") else bool(value)
