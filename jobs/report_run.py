"""reports/<ds>/index.html: one page about the run of a day, which needs no network; reports/days/: one across days.

Reads the tables of the day and the model's folder; the page says what is missing. Each section is a function in
SECTIONS. Overwrites the page of the day, and the page across days, which ends at the newest day that has a log.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable, Sequence

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake.lake import Lake
from jobs.report.files import put_page, report_path, trend_path
from jobs.report.page import Section, render
from jobs.report.sections.flow import flow_section, log_section
from jobs.report.sections.gate import gate_section
from jobs.report.sections.headline import headline, key_figures
from jobs.report.sections.lists import popularity_section
from jobs.report.sections.people import people_section
from jobs.report.sections.quality import quality_section
from jobs.report.sections.training import estimator_section, index_section, training_section
from jobs.report.trend import last_day, trend_page
from model.training.processes.lines import say

SECTIONS: tuple[Callable[[Lake, Config, dt.date], Section], ...] = (
    flow_section,
    log_section,
    gate_section,
    quality_section,
    popularity_section,
    training_section,
    estimator_section,
    index_section,
    people_section,
)


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def report(lake: Lake, config: Config, ds: dt.date) -> str:
    """The HTML of the day's page; it depends only on the lake."""
    sections = [section(lake, config, ds) for section in SECTIONS]
    return render(headline(lake, ds), key_figures(lake, config, ds), sections)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "report_run")
    put_page(lake, report_path(lake.uri, args.ds), report(lake, config, args.ds))
    put_page(lake, trend_path(lake.uri), trend_page(lake, last_day(lake, args.ds)))
    say(f"report: {report_path(args.lake, args.ds)}")
    return len(SECTIONS)


if __name__ == "__main__":
    run(main)
