"""One file for each claim of the README: `python -m benchmarks.NAME --help`. RESULTS.md holds what they gave."""
