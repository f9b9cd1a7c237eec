"""What a training step, its loss and its data loader cost."""
