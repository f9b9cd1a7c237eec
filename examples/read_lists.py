"""The published lists as pandas, Polars, DuckDB and Spark read them: the same rows from each.

    .venv/bin/python examples/read_lists.py --lake examples/out/lake      # made by own_log.py

A reader must follow the newest publication: it names the day of the lists, and the version of their table. A day that
is scored again is not read before it is published, and after a rollback the older lists are.
"""

import argparse

import duckdb
import pandas as pd
import polars as pl
from deltalake import DeltaTable

from batch_recall import read_candidates

COLUMNS = ["user_id", "item_id", "rank", "score"]


def publication(lake: str) -> dict:
    """The newest row of `publications`."""
    return pl.read_delta(f"{lake}/publications").sort("publication").row(-1, named=True)


def by_pandas(lake: str) -> pd.DataFrame:
    """`read_candidates` follows the publication by itself; with user ids as a second argument it reads only theirs."""
    return read_candidates(lake)[COLUMNS]


def by_polars(lake: str) -> pd.DataFrame:
    current = publication(lake)
    table = pl.scan_delta(f"{lake}/candidates", version=current["candidates_version"])
    lists = table.filter(pl.col("ds") == current["ds"]).select("user_id", "candidates")
    return lists.explode("candidates").unnest("candidates").select(COLUMNS).collect().to_pandas()


def by_duckdb(lake: str) -> pd.DataFrame:
    current = publication(lake)
    files = DeltaTable(f"{lake}/candidates", version=current["candidates_version"]).file_uris()
    sql = """
        select user_id, candidate.item_id, candidate.rank, candidate.score
        from read_parquet($files, hive_partitioning = true), unnest(candidates) as listed (candidate)
        where ds = $ds
    """
    return duckdb.sql(sql, params={"files": files, "ds": current["ds"]}).df()


def by_spark(lake: str) -> pd.DataFrame:
    """`published_candidates` gives a DataFrame. A session that runs already is used as it is."""
    from jobs.lake.lake import Lake
    from jobs.lake.session import spark_session
    from jobs.serving.publications import published_candidates

    lists = published_candidates(Lake(spark_session("read_lists"), lake))
    return lists.selectExpr("user_id", "inline(candidates)").select(COLUMNS).toPandas()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", default="examples/out/lake", help="default: examples/out/lake")
    lake = parser.parse_args(argv).lake
    expected = by_pandas(lake).sort_values(["user_id", "rank"], ignore_index=True)
    for read in (by_polars, by_duckdb, by_spark):
        rows = read(lake).sort_values(["user_id", "rank"], ignore_index=True)
        pd.testing.assert_frame_equal(rows, expected, check_dtype=False)
        print(f"{read.__name__}: the {len(rows):,} rows of read_candidates")


if __name__ == "__main__":
    main()
