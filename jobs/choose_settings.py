"""adoptions: the settings with which the day trains and scores, decided once, before the first job that reads them.

They are the configured ones until settings of a search are taken over: by a person (adopt_tuning), or with
`tuning.take_over = "gate"` by a trial. A trial is the day after a search whose result is beyond the noise of seeds: the
day uses its settings, and they stay if the day passes the gate and is published; otherwise the next day has the earlier
ones again. Every job of the day reads the decision and applies it as the last --config. A day that was decided, or
trained, keeps its settings when it is run again, unless a person takes them back before the day is published. Writes
nothing while no settings of a search were ever taken over.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial

from jobs.cli.arguments import Parser, job_parser
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.tuning import TakeOver
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.tuning.adoption.decision import Choice, Proposal, choose, is_released
from jobs.tuning.adoption.outcome import is_published, trial_outcome
from jobs.tuning.adoption.records import Adoption, Overlay, add, adoptions, configuration_of_day, decided
from jobs.tuning.adoption.search_results import proposal
from model.training.processes.lines import say


def arg_parser() -> Parser:
    return job_parser(__doc__)


def propose(lake: Lake, overlays: Sequence[str], ds: dt.date, in_force: Overlay | None) -> Proposal:
    """What a search proposes for `ds`; nothing for a day that cannot be published, which a trial has to be."""
    if any(row.ds >= ds for row in lake.rows(tables.PUBLICATIONS)):
        return Proposal(None, "")
    return proposal(lake, overlays, ds, in_force)


def choice(
    lake: Lake, rows: Sequence[Adoption], overlays: Sequence[str], take_over: TakeOver, ds: dt.date
) -> Choice | None:
    """The settings of a day that are to be recorded; None if they are, or if there is nothing to record.

    Raises ValueError if they are not valid in this configuration.
    """
    known = decided(rows).get(ds)
    if known is not None and (not is_released(rows, known) or is_published(lake, ds)):
        return None
    if known is None and lake.has_day(tables.MODEL_VERSIONS, ds):  # it was trained with the configured ones
        return None
    found = choose(ds, rows, take_over, partial(trial_outcome, lake), partial(propose, lake, overlays, ds))
    if found.overlay is not None:
        configuration_of_day(overlays, found.overlay, ds)
    return found if rows or found.overlay is not None else None


def settings_line(found: Choice | Adoption | None) -> str:
    """One line for a person."""
    if found is None or found.overlay is None:
        return "settings: configured" + ("" if found is None else f" ({found.reason})")
    return f"settings: tuned on {found.overlay.tuned_on}, {found.state} ({found.reason})"


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "choose_settings")
    rows = adoptions(lake)
    found = choice(lake, rows, args.config, config.tuning.take_over, args.ds)
    if found is not None:
        add(lake, rows, found.state, args.ds, found.overlay, found.reason, now())
    say(settings_line(found or decided(rows).get(args.ds)))
    return int(found is not None)


if __name__ == "__main__":
    run(main)
