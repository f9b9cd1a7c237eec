"""The sections of a day's report, in the order of the page: see `jobs.report_run`."""
