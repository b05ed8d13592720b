"""Live: one input, one edit, base and edited output side by side."""
