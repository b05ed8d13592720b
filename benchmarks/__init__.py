"""Engram Explorer and its peer, the reference package `ai-engram`, side by side in one process."""
