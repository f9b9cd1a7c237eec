"""A sampled lake: the same users on every day, with all that they saw and clicked, on which the day's tables can be built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from jobs import run_day, sample_log
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.files import NoSuchLake
from jobs.lake.integrity.log_store import UnsafeLogStore
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from tests.conftest import DAYS, SMALL

SECOND, THIRD = DAYS[1:3]


def sample(lake: Lake, into: Path | str, fraction: str, *more: str) -> Lake:
    common = ["--lake", lake.uri, "--config", SMALL, "--ds", str(THIRD)]
    sample_log.main([*common, "--into", str(into), "--fraction", fraction, *more])
    return Lake(lake.spark, str(into))


def test_a_sampled_user_is_copied_with_all_rows_and_others_with_none(
    simulated: Lake, config: Config, tmp_path: Path
) -> None:
    small = sample(simulated, tmp_path / "small", "0.1", "--days", "2")
    days = F.col("ds").isin(SECOND, THIRD)
    shown = simulated.read(tables.IMPRESSIONS).where(days)
    taken = {row.user_id for row in small.read(tables.IMPRESSIONS).select("user_id").distinct().collect()}
    everybody = {row.user_id for row in shown.select("user_id").distinct().collect()}
    assert 0.05 < len(taken) / len(everybody) < 0.2
    theirs = shown.where(F.col("user_id").isin(list(taken)))
    assert rows(small.read(tables.IMPRESSIONS)) == rows(theirs)
    clicks = simulated.read(tables.CLICKS).where(days & F.col("user_id").isin(list(taken)))
    copied = small.read(tables.CLICKS)
    assert rows(copied.where(F.col("user_id").isin(list(taken)))) == rows(clicks)
    assert copied.where(F.col("user_id").isin(list(everybody - taken))).isEmpty()
    items = simulated.read(tables.items(config)).where(F.col("ds") <= F.lit(THIRD))
    assert rows(small.read(tables.items(config)).select("item_id")) == rows(items.select("item_id").distinct())


def test_the_days_tables_are_built_on_it(simulated: Lake, tmp_path: Path) -> None:
    small = sample(simulated, tmp_path / "small", "0.3")
    run_day.main(["--lake", small.uri, "--config", SMALL, "--ds", str(THIRD), "--tables-only"])
    landed = small.read(tables.IMPRESSIONS).select("impression_id").distinct().count()
    assert small.day(tables.INTERACTIONS, THIRD).count() == landed > 0


@pytest.mark.parametrize("fraction", ["0", "1.5", "a tenth", "nan"])
def test_a_fraction_is_above_0_and_at_most_1(lake: Lake, fraction: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sample(lake, Path("other"), fraction)
    assert f"must be a number above 0 and at most 1, got '{fraction}'" in capsys.readouterr().err


def make_table(lake: Lake) -> None:
    """Without a table a folder is no lake."""
    lake.append(tables.GATE, lake.spark.createDataFrame([], tables.GATE.schema))


def test_the_lake_itself_is_refused_however_it_is_called(lake: Lake, tmp_path: Path) -> None:
    make_table(lake)
    link = tmp_path / "link"
    link.symlink_to(lake.uri)
    for name in (f"{lake.uri}/", f"file:{lake.uri}", f"file://{lake.uri}/", os.path.relpath(lake.uri), str(link)):
        with pytest.raises(ValueError, match="--into must be another lake"):
            sample(lake, name, "0.5")


def test_the_target_lake_must_have_safe_commits(lake: Lake) -> None:
    make_table(lake)
    with pytest.raises(UnsafeLogStore, match="commits in s3a://bucket/small"):
        sample(lake, "s3a://bucket/small", "0.5")
    with pytest.raises(Exception, match="S3AFileSystem not found"):  # the source, which is only read, is not refused
        sample(Lake(lake.spark, "s3a://bucket/lake"), lake.uri, "0.5")


def test_a_day_that_has_not_landed_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(NoSuchLake, match="there is no lake at"):
        sample(lake, tmp_path / "other", "0.5")
    make_table(lake)
    with pytest.raises(DayStopped, match="no impression landed"):
        sample(lake, tmp_path / "other", "0.5")
    assert not (tmp_path / "other").exists()


def rows(frame: object) -> list[str]:
    return sorted(map(str, frame.collect()))  # type: ignore[attr-defined]
