"""Maps: inputs and engrams as points, before and after an edit."""
