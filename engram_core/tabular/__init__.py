"""Tables: rows of numbers with a label, and models that read them."""
