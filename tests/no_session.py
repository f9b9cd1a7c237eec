"""In place of a function that starts a Spark session, for a lake or a job that must not need one."""

from __future__ import annotations

from typing import NoReturn


def no_session(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("no JVM must be started")
