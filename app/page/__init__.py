"""What every page shares: its frame, progress, report, snippets."""
