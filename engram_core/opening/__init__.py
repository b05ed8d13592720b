"""Opening a model with its concepts: the samples, or your own; checked first, prepared once."""
