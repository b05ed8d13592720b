"""Measuring: the four criteria with their controls, over all layers and layer by layer."""
