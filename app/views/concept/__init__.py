"""Concept: everything about one concept on one page."""
