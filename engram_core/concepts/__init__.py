"""Concepts: named groups of inputs, how they become batches, and which row belongs to which concept."""
