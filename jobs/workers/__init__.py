"""What Python workers of Spark run to embed users and items, and to make and write lists.

Imports neither the lake nor the configuration, and so neither delta-rs nor Polars, which keeps these workers small. The
workers of `export_candidates` and `simulate_log` run code of these jobs' own folders.
"""
