"""publications: move the pointer that readers of the candidates follow (jobs/serving/publishing.py).

Takes the newest Delta versions, checks that the day's candidates are complete and passed the gate, then adds one row
that names exactly those versions and the publication before it (compare-and-set). Rows that are written while the job
runs are not published. Of two publishers that follow the same publication, one fails with a PublicationConflict.
With --rollback [N] the publication N steps back is published again, as a new row and without users who were forgotten
since.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from typing import Any

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake.lake import Lake
from jobs.serving.publication_checks import require_complete_lists, require_gate_passed
from jobs.serving.publishing import newest_target, publish
from jobs.serving.rollback import roll_back
from jobs.training.tracking import record_publication
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--published-at", type=time_argument, help="time to record, ISO 8601 (default: now)")
    parser.add_argument(
        "--republish",
        action="store_true",
        help="publish --ds even if a later day was published, or if its lists were rolled back",
    )
    parser.add_argument(
        "--rollback",
        type=int,
        nargs="?",
        const=1,
        metavar="N",
        help="publish again the publication N steps back (default: 1)",
    )
    return parser


def publish_day(lake: Lake, config: Config, ds: dt.date, at: dt.datetime, *, republish: bool) -> dict[str, Any]:
    """Check and publish the day's candidates; returns what was published, by columns of publications."""
    target = newest_target(lake, ds)  # before the checks, which look at exactly these versions
    users = require_complete_lists(lake, config, target)
    require_gate_passed(lake, target)
    publish(lake, {**target, "users": users}, at, republish)
    return {**target, "users": users}


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    is_rollback = args.rollback is not None
    if (args.ds is not None) == is_rollback:
        parser.error("give either --ds or --rollback")
    lake, config = open_lake(args, "publish_candidates", uses_adopted=True)
    at = args.published_at or now()
    if is_rollback:
        target = roll_back(lake, args.rollback, at)
        say(f"readers get {target['ds']} again, of model {target['model_version']}")
    else:
        target = publish_day(lake, config, args.ds, at, republish=args.republish)
    record_publication(lake, config, target["model_version"])
    return int(target["users"])


if __name__ == "__main__":
    run(main)
