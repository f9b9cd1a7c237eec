"""The clock: jobs read it in `main()`, at most; everything below takes times as arguments."""

from __future__ import annotations

import datetime as dt


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
