"""The data that benchmarks run on."""

from pathlib import Path

WITH_POOL = Path(__file__).with_name("with_pool.toml")  # a configuration with which the unclicked pool is built
