"""Pages: each reads the choice, asks the core through the adapter, and draws."""
