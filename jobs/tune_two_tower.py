"""tuning/<ds>/: the settings that give the best recall on the held-out last day of the window, and a page about them.

Trains models with settings drawn by Optuna from [tuning.space], each in a process of its own, and measures each after
every epoch. The clicks of half of the users of the held-out day choose the settings; those of the other half judge them
beside the configured ones, with several seeds. Later days are never read. Writes overlay.toml, which --config takes,
result.json, which says whether the settings are better beyond the noise of seeds, index.html, and study.log, from which
an interrupted search goes on. Publishes nothing and changes no table. One search at a time runs in a lake; a second one
ends at once with exit code 75.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.cli.arguments import Parser, count_argument, job_parser
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config, merge
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import require_trainable_day
from jobs.training.spec import training_spec
from jobs.training.tracking import record_search
from jobs.tuning.adoption.records import Overlay, overlay_of_day
from jobs.tuning.adoption.search_results import SearchResult, configuration_hash
from jobs.tuning.comparison import Comparison, compared, next_step
from jobs.tuning.folder import OVERLAY, PAGE, RESULT, tuning_folder
from jobs.tuning.lock import search_lock
from jobs.tuning.overlay import overlay_text
from jobs.tuning.page import tuning_page
from jobs.tuning.search import REASON, SAME_AS, SETTINGS, Base, best_settings, ended, open_study, search, values_of
from jobs.tuning.space import overlay
from model.training.processes.lines import say

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


def arg_parser() -> Parser:
    parser = job_parser(__doc__, variant=True)
    parser.add_argument("--trials", type=count_argument, default=50, help="trials of the search (default 50)")
    parser.add_argument("--minutes", type=count_argument, help="minutes of the search; the comparison comes after them")
    parser.add_argument("--processes", type=count_argument, default=1, help="trials side by side (default 1)")
    parser.add_argument("--seeds", type=count_argument, default=3, help="trainings that compare the result (default 3)")
    return parser


def require_held_out_day(lake: Lake, config: Config, ds: dt.date) -> None:
    """Raises ValueError unless `ds` can be held out, and its window has an earlier day to train on; NoSuchDay too."""
    wanted = f"{ds} must be held out from the trials, with an earlier day to train on"
    window = config.log.examples_window_days
    if config.training.validation == "none":
        raise ValueError(f'{wanted}, got training.validation = "none": set it to "last_day"')
    if window == 1:
        raise ValueError(f"{wanted}, got log.examples_window_days = 1: set it to at least 2")
    if lake.latest_day_before(tables.training_examples(config), ds, window - 1) is None:
        raise ValueError(
            f"{wanted}, but none of the {window - 1} days before it has training examples: build them in order "
            f"(run-day --ds FIRST --last {ds} --tables-only); if {ds} is the first day of the log, tune a later one"
        )
    lake.require_day(tables.training_examples(config), ds)


def tuned_day(lake: Lake, config: Config, ds: dt.date) -> Base:
    """What the trials vary. Raises DayStopped or NoSuchDay as training does, and ValueError without a held-out day."""
    require_trainable_day(lake, ds)
    require_held_out_day(lake, config, ds)
    day = training_spec(lake, config, ds)
    return Base(day, config, pool_is_empty=not lake.has_day(tables.UNCLICKED_ITEMS, ds))


def show_trial(study: Study, trial: FrozenTrial, metric: str) -> None:
    """Print a line for a trial that has ended."""
    same = f", as trial {trial.user_attrs[SAME_AS]}" if SAME_AS in trial.user_attrs else ""
    found, complete = values_of(trial), [each for each in ended(study) if each.state.name == "COMPLETE"]
    value = (
        f"{metric} {max(found):.4f} after {len(found)} epochs{same}"
        if found
        else trial.user_attrs.get(REASON, "interrupted")
    )
    best = f"; best {study.best_value:.4f} (trial {study.best_trial.number})" if complete else ""
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    say(f"trial {trial.number} {trial.state.name.lower()}: {value}, {seconds:.0f} s{best}")


def overlay_of(
    base: Base,
    chosen: Mapping[str, Any],
    comparison: Comparison,
    ds: dt.date,
    variant: str | None,
    adopted: Overlay | None = None,
) -> str:
    """The TOML of the chosen settings, for the main model or a variant.

    adopted: settings of an earlier search with which the day ran. Those that this search did not vary are repeated, so
    that the file does not depend on them.
    """
    settings = {**chosen, "training.epochs": comparison.chosen.epochs}
    sections = overlay(settings, pool_is_empty=base.pool_is_empty)
    if adopted is not None and variant is None:
        sections = merge(adopted.for_config.values(), sections)
    return overlay_text(sections, ds, comparison.text(base.config.tuning.metric), variant)


def trials_of(study: Study) -> list[dict[str, Any]]:
    """The trials as `record_search` takes them."""
    return [
        {
            "number": trial.number,
            "state": trial.state.name,
            "settings": trial.user_attrs.get(SETTINGS, {}),
            "values": values_of(trial),
        }
        for trial in ended(study)
    ]


def tune(lake: Lake, base: Base, ds: dt.date, *, trials: int, seconds: float | None, processes: int, seeds: int) -> int:
    """Search, compare, and write the settings and the page; returns the number of trials of the study."""
    metric = base.config.tuning.metric
    _ = base.config.tuning.searched  # an empty space is refused before anything is written
    with tuning_folder(lake, ds) as folder:
        study = open_study(base, folder.study)

        def on_trial(trial: FrozenTrial) -> None:
            folder.save()
            show_trial(study, trial, metric)

        search(base, study, trials=trials, seconds=seconds, processes=processes, on_trial=on_trial)
        chosen = best_settings(study)
        say(f"training today's and the chosen settings with {seeds} seeds each")
        comparison = compared(base, chosen, seeds=seeds, processes=processes)
        values = base.config.model_dump()
        today = {"training.epochs": base.config.training.epochs} | {
            key: values[key.partition(".")[0]][key.partition(".")[2]] for key in chosen
        }
        text = overlay_of(base, chosen, comparison, ds, lake.variant, overlay_of_day(lake, ds))
        result = SearchResult(Overlay(ds, text).hash, comparison.is_clear, configuration_hash(base.config))
        folder.put(OVERLAY, text)
        folder.put(RESULT, result.text())
        step = next_step(comparison, base.config.tuning.take_over, ds, lake.variant)
        folder.put(PAGE, tuning_page(ds, study, today, comparison, metric, step))
    say(f"{comparison.text(metric)}\nsettings: {folder.uri(OVERLAY)}\npage: {folder.uri(PAGE)}\n{step}")
    record_search(lake, base.config, f"{ds}-{base.study_name}", trials_of(study))
    return len(ended(study))


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "tune_two_tower", uses_adopted=True)
    seconds = args.minutes * 60.0 if args.minutes else None
    options = {"trials": args.trials, "processes": args.processes, "seeds": args.seeds}
    with search_lock(lake, args.ds, now()):
        return tune(lake, tuned_day(lake, config, args.ds), args.ds, seconds=seconds, **options)


if __name__ == "__main__":
    run(main)
