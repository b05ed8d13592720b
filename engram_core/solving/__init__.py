"""Solving: the total's pseudo-inverse, a concept's trace in it, and what the traces say."""
