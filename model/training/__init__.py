"""Training of one model version: specification, loop, checkpoints, ranks."""
