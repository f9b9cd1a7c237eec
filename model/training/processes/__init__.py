"""The trainer as operating-system processes: ranks, ending with the parent, progress on the terminal."""
