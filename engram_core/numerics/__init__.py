"""Numbers: one precision for everything computed here, eigendecompositions, and several of them at once."""
