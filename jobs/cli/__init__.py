"""The command line of all jobs: arguments, opening the lake, exit codes, display."""
