"""Validation of a training run: ranks of held-out clicks, metrics over them, and the choice of an epoch."""
