"""The command line that all jobs share: arguments, how a job ends, what it displays."""
