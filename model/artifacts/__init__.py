"""Folders of models and indexes: whole or absent, verified before use."""
