"""The only door to the core: choices go in, numpy arrays, tables and plain numbers come out.

Nothing in this folder knows of the screen, and nothing outside it imports torch. What visitors share is
the base, which is never written, and remembered numbers, keyed by the whole edit. The edited model is a
view that one visitor owns.
"""
