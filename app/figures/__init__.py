"""Pure functions from data to pictures and words."""
