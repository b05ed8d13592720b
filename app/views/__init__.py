"""Pages: each reads the choice, asks the core through `app.compute`, and draws."""
