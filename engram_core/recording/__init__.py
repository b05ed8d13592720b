"""Recording: one forward pass over all concepts, and what is kept of what every layer reads."""
