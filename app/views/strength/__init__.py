"""Strength: search for it, choose by a rule, confirm the choice on other concepts."""
