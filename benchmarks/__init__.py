"""One file for each measured claim: `python -m benchmarks.FOLDER.NAME --help`. RESULTS.md has the results."""
