"""Panels: pieces of a page as HTML."""
