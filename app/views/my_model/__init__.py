"""My model: one's own model and concepts."""
