"""Engrams of a fine-tune: which memories it wrote, and what erasing or composing them does."""
