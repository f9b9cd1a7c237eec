"""What a day hands to the trainer, and how trainings are tracked."""
