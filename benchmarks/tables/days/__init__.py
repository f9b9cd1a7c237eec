"""Whole days, up to their publication."""
