"""Records of tables whose landing has not ended, for `await_log`: a killed landing may have written some of them.

Only for rows that land without impressions: where these land too, a day without them has not landed completely.
"""

from __future__ import annotations

import datetime as dt

from jobs.lake.files import glob_statuses, hadoop_path
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path

FOLDER = "landing"


def begin_landing(lake: Lake, ds: dt.date, table: str) -> None:
    """Record that a table is going to land on a day."""
    filesystem, path = hadoop_path(lake.spark, lake.path(FOLDER, str(ds), table))
    filesystem.create(path, True).close()


def end_landing(lake: Lake, ds: dt.date, table: str) -> None:
    """Remove the record, also that of a landing that was killed before."""
    filesystem, path = hadoop_path(lake.spark, lake.path(FOLDER, str(ds), table))
    filesystem.delete(path, False)


def unfinished_tables(lake: Lake, ds: dt.date) -> list[str]:
    """The tables whose landing on a day has begun and not ended. Starts no Spark for a lake on a local disk."""
    folder = lake.path(FOLDER, str(ds))
    if (local := local_path(folder)) is not None:
        return sorted(path.name for path in local.glob("[!.]*"))
    return sorted(str(status.getPath().getName()) for status in glob_statuses(lake.spark, f"{folder}/*"))
