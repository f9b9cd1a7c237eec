"""adoptions: take over the settings that the search of a day chose, from the next day that runs; or take them back.

`--ds` is the day of the search, whose tuning/<ds>/overlay.toml is recorded with its hash, so a later search of the same
day changes nothing. Days that have been decided keep their settings; but a day that is not published is decided again
if its settings are taken back (--withdraw) and it is run again from choose_settings on. What was in force before the
settings comes back then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from jobs.cli.arguments import Parser, job_parser
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.tuning import TakeOver
from jobs.lake.lake import Lake
from jobs.tuning.adoption.decision import newer_by_hand, taken_back
from jobs.tuning.adoption.records import (
    GIVEN,
    TAKEN_BACK,
    TRIAL,
    Adoption,
    Overlay,
    adoptions,
    decided,
    valid_configuration,
)
from jobs.tuning.adoption.records import add as add_decision
from jobs.tuning.adoption.search_results import read_overlay
from model.training.processes.lines import say


def arg_parser() -> Parser:
    parser = job_parser(__doc__)
    parser.add_argument("--withdraw", action="store_true", help="take the settings back")
    return parser


def to_give(lake: Lake, overlays: Sequence[str], take_over: TakeOver, tuned_on: dt.date) -> Overlay:
    """The settings of a search. Raises ValueError if the configuration refuses them, or as `read_overlay` does."""
    if take_over == "never":
        raise ValueError('tuning.take_over must be "by_hand" or "gate" to take settings over, got "never"')
    overlay = read_overlay(lake, tuned_on)
    valid_configuration(overlays, overlay)
    return overlay


def to_take_back(rows: Sequence[Adoption], tuned_on: dt.date) -> Overlay:
    """The settings of a day's search that were given, tried or adopted last. Raises ValueError if there are none."""
    refused = taken_back(rows)
    known = [row.overlay for row in rows if row.overlay is not None and row.overlay.identity not in refused]
    found = [overlay for overlay in known if overlay.tuned_on == tuned_on]
    if not found:
        days = ", ".join(sorted({str(overlay.tuned_on) for overlay in known})) or "there are none"
        raise ValueError(f"--ds must be the day of a search whose settings were taken over ({days}), got {tuned_on}")
    return found[-1]


def is_next(rows: Sequence[Adoption], overlay: Overlay) -> bool:
    """Whether the next day has these settings in any case; not if they are on trial."""
    last = next(reversed(decided(rows).values()), None)
    newest = [row for row in (last, *newer_by_hand(rows, last)) if row is not None]
    state, found = (newest[-1].state, newest[-1].overlay) if newest else ("", None)
    return found is not None and found.identity == overlay.identity and state not in (TAKEN_BACK, TRIAL)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "adopt_tuning")
    rows = adoptions(lake)
    if args.withdraw:
        state, overlay = TAKEN_BACK, to_take_back(rows, args.ds)
    else:
        state, overlay = GIVEN, to_give(lake, args.config, config.tuning.take_over, args.ds)
    if is_new := args.withdraw or not is_next(rows, overlay):
        add_decision(lake, rows, state, None, overlay, f"{state.replace('_', ' ')} by hand", now())
    say(f"settings tuned on {overlay.tuned_on}: {state.replace('_', ' ')}")
    return int(is_new)


if __name__ == "__main__":
    run(main)
