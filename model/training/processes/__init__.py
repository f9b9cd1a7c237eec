"""The trainer's processes: ranks, the end with the parent process, and the progress bar."""
