"""Criteria: specificity, reactivation, sufficiency, necessity, with their controls."""
