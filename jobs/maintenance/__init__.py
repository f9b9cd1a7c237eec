"""Removes what is no longer needed: old days, replaced files, folders of models and indexes, and forgotten users."""
