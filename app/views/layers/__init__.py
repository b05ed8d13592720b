"""Layers: where a memory lives."""
