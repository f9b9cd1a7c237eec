"""The present time. Only the `main()` of a job calls it; functions that need a time take it as an argument."""

from __future__ import annotations

import datetime as dt


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
