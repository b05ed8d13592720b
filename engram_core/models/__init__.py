"""Models: a view beside the base, what it is, and the linear maps in it that can hold engrams."""
