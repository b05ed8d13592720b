"""Tuning: the strength that forgets most and harms least, found on some concepts and confirmed on others."""
