"""What Spark's Python workers run: list making, towers, files.

Imports neither the lake nor the configuration, and so neither delta-rs nor Polars, so that workers stay small.
"""
