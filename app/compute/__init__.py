"""The door to the core: one file per question; choices go in, arrays, tables and plain numbers come out."""
