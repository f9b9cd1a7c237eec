"""A day, or a stretch of it, as a record of the jobs that run_day calls and of their arguments; no job runs."""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs import rebuild_days, run_day
from jobs.cli.arguments import shared_arguments
from jobs.cli.display import job_name
from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from tests.no_session import no_session

ROOT = Path(__file__).resolve().parents[1]
DAY = "2026-03-01"
LAKE = "/lake of $HOME"  # a shell would expand it if it were not quoted


def parsed(job: str, argv: list[str]) -> dict[str, Any]:
    """The arguments as the job's own parser reads them."""
    here = [argument.replace("/code/", f"{ROOT}/") for argument in argv]
    return vars(importlib.import_module(f"jobs.{job}").arg_parser().parse_args(here))


class Recorder:
    """Replaces Display, and the main() of every job."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.stops: str | None = None  # the job that stops the day
        self.positions: list[int] = []  # from 1, of the jobs that the moving line shows

    def step(self, job: str, day: dt.date, work: Any) -> None:
        work()

    def at(self, job: Any, jobs: Sequence[Any]) -> None:
        self.positions.append(jobs.index(job) + 1)

    def main(self, job: str) -> Any:
        def main(argv: list[str]) -> int:
            self.calls.append((job, argv))
            if job == self.stops:
                raise DayStopped("gate", "stopped")
            return 1

        return main


def recorded_jobs(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Replaces the main() of every job of a day."""
    recorder = Recorder()
    for job in run_day.DAY:
        monkeypatch.setattr(job, "main", recorder.main(job_name(job)))
    rebuilt = ["--lake", LAKE, "--config", str(ROOT / "recall.toml"), "--ds", DAY]
    monkeypatch.setattr(rebuild_days, "rebuild_days", lambda *_, **__: recorder.calls.append(("rebuild_days", rebuilt)))
    return recorder


def calls(
    recorder: Recorder, more: list[str], job_ended: Callable[[str], None] = lambda _: None
) -> list[tuple[str, dict[str, Any]]]:
    """(job, parsed arguments) of everything that run_day runs for a day with these arguments, in order."""
    recorder.calls.clear()
    parser = run_day.arg_parser()
    args = parser.parse_args(["--lake", LAKE, "--config", str(ROOT / "recall.toml"), "--ds", DAY, *more])
    jobs = run_day.requested_jobs(parser, args)
    shared = shared_arguments(args)
    options = {"jobs": jobs, "job_ended": job_ended, "leaves_earlier": args.leave_earlier_days}
    lake = Lake(no_session, LAKE)
    run_day.run_day(lake, load_config(), args.ds, shared, recorder, **options)  # type: ignore[arg-type]
    return [(job, parsed(job, argv)) for job, argv in recorder.calls]
