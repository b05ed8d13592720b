"""Editing: which memories are off, on a view beside the base, and the proof that it acts."""
