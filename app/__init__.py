"""Engram Explorer's screens: they show what `engram_core` computes, and compute nothing."""
