"""The warnings of a day's features are on its page, and only if there are any."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from jobs import report_run
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.feature_values import put_warnings
from jobs.report.files import report_path

DAY = dt.date(2026, 1, 5)


def test_warnings_of_features_are_shown_until_the_day_has_none(lake: Lake) -> None:
    lake.append(tables.GATE, lake.spark.createDataFrame([], tables.GATE.schema))

    def page() -> str:
        report_run.main(["--lake", lake.uri, "--ds", str(DAY)])
        return Path(report_path(lake.uri, DAY)).read_text("utf-8")

    assert "warnings of the features" not in page()
    put_warnings(lake, DAY, "user", ["feature age: 0 of 3 users have a value"])
    put_warnings(lake, DAY, "item", ["feature <brand>: 1 of 5 items have a value", "feature price: 2 of 5"])
    shown = page()
    assert (
        shown.index("feature &lt;brand&gt;: 1 of 5") < shown.index("feature price: 2 of 5") < shown.index("feature age")
    )
    put_warnings(lake, DAY, "user", [])
    assert "feature age" not in page()
