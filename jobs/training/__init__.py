"""The training spec of a day, how the trainer is run, and the records of trainings in MLflow."""
