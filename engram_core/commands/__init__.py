"""The commands of `engram`, one file per job; `engram_core.cli` puts them together."""
