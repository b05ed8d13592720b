"""Model folders, local or from the Hugging Face hub: found, checked, and only then loaded."""
