"""Verified folders: models, indexes and checkpoints are complete or absent, and are checked before use."""
