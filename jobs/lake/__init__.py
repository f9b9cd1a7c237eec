"""The tables of the lake: their columns, one day of one of them, checks, queries, files."""
