"""`python -m batch_recall JOB ...` is the command `batch-recall JOB ...`."""

from batch_recall import main

main()
