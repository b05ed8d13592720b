"""Charts: pure functions from data to figures."""
