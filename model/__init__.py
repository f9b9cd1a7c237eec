"""Pure functions and small classes of tensors: losses, samplers, towers, training."""
