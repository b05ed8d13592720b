"""Words: how to read each figure, and each figure said in a sentence."""
