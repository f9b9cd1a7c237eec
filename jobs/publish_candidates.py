"""publications: the pointer that readers of the candidates follow.

Takes the newest Delta versions, checks that the day's candidates in them are whole and have passed the gate, then adds
one row that names the publication it follows and exactly those versions: what is written meanwhile is not published. Of
two publishers that follow the same one, one gets a PublicationConflict.
With --rollback [N] readers get the publication N places back again, as a new one, but for users who were forgotten
since; --ds is not needed then.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.serving.publishing import newest_target, publish, require_passed, require_whole, roll_back
from jobs.training.tracking import record_publication


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--published-at", type=time_argument, help="time to record, ISO 8601 (default: now)")
    parser.add_argument("--republish", action="store_true", help="of a day before the last, or of lists rolled back")
    parser.add_argument(
        "--rollback", type=int, nargs="?", const=1, metavar="N", help="publish again what was published N times before"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    goes_back = args.rollback is not None
    if (args.ds is not None) == goes_back:
        parser.error("wants either --ds or --rollback")
    lake, config = open_lake(args, "publish_candidates", small_days=goes_back)  # it reads a few rows, and is urgent
    at = args.published_at or now()
    if goes_back:
        back = roll_back(lake, args.rollback, at)
        print(f"readers get {back['ds']} again, of model {back['model_version']}", flush=True)
        record_publication(lake, config, back["model_version"])
        return int(back["users"])
    wanted = newest_target(lake, args.ds)  # before the checks: what is written while they run was not looked at
    users = require_whole(lake, config, wanted)
    require_passed(lake, wanted)
    publish(lake, {**wanted, "users": users}, at, args.republish)
    record_publication(lake, config, wanted["model_version"])
    return users


if __name__ == "__main__":
    run(main)
