"""Files: written whole or not at all, kept in the cache on disk, tensors with their provenance."""
