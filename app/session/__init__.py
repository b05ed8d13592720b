"""One visitor's session."""
