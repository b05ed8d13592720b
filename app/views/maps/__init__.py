"""Map: inputs and engrams as points."""
