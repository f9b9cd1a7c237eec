"""The page of a search: what was chosen, whether it is better, what mattered, and the curves of the trials."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.report.curves import MIN_POINTS, curves
from jobs.report.figures import count
from jobs.report.page import Block, Cell, Facts, Grid, Headline, Missing, Section, render
from jobs.tuning.comparison import Comparison, Side
from jobs.tuning.search import ENOUGH, EPOCHS, REASON, SETTINGS, ended, importances, values_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

TRIALS_SHOWN, CURVES_SHOWN = 20, 3


def tuning_page(
    ds: dt.date, study: Study, today: Mapping[str, Any], comparison: Comparison, metric: str, step: str
) -> str:
    """The HTML of the page. today: the value of each key of the space that is in force; step: what to do next."""
    status, tone = (
        ("better, beyond the noise of seeds", "good") if comparison.is_clear else ("within the noise of seeds", "muted")
    )
    footer = "All numbers are of the trials in study.log and of the trainings that compare their result."
    head = Headline(str(ds), "", status, tone, comparison.text(metric) + ".", kind="search for settings", footer=footer)
    return render(
        head, [], [_settings(study, today, comparison, metric, step), _importance(study), _trials(study, metric)]
    )


def _settings(study: Study, today: Mapping[str, Any], comparison: Comparison, metric: str, step: str) -> Section:
    chosen = study.best_trial.user_attrs[SETTINGS]
    rows = [
        [Cell(key, "code"), Cell(_text(today[key])), Cell(_text(value), "strong" if value != today[key] else "")]
        for key, value in chosen.items()
    ]
    rows.append(
        [
            Cell("training.epochs", "code"),
            Cell(_text(today["training.epochs"])),
            Cell(str(comparison.chosen.epochs), "strong"),
        ]
    )
    facts = [
        (f"{metric}, today's settings", _mean(comparison.configured)),
        (f"{metric}, chosen settings", _mean(comparison.chosen)),
        ("clicks that judge", count(comparison.clicks)),
        ("clicks that choose", count(comparison.chosen.runs[0].searched_clicks)),
        ("seeds", str(len(comparison.chosen.runs))),
    ]
    lead = (
        "Half of the users of the held-out day chose the settings; the clicks of the other half judge them here. "
        f"overlay.toml in this folder has the settings, for --config. {step}"
    )
    grid = Grid(("setting", "today", "chosen"), rows, texts=3)
    return Section("settings", "The chosen settings", lead, [grid, Facts(facts)])


def _importance(study: Study) -> Section:
    found = importances(study)
    lead = "How far the best tenth of the trials chose other values than all trials; the shares sum to 1 (PED-ANOVA)."
    if not found:
        return Section(
            "importance", "What mattered", lead, [Missing(f"Fewer than {ENOUGH} complete trials do not tell.")]
        )
    rows = [[Cell(key, "code"), Cell(f"{share:.2f}", bar=share)] for key, share in found.items()]
    return Section("importance", "What mattered", lead, [Grid(("setting", "share"), rows)])


def _trials(study: Study, metric: str) -> Section:
    trials = ended(study)
    measured = sorted((trial for trial in trials if values_of(trial)), key=_best, reverse=True)
    blocks: list[Block] = [*_progress(trials, metric), *_curves(measured[:CURVES_SHOWN], metric)]
    keys = list(measured[0].user_attrs[SETTINGS])
    rows = [
        [
            Cell(str(trial.number)),
            Cell(f"{_best(trial):.4f}", "strong" if not rank else ""),
            Cell(str(trial.user_attrs[EPOCHS])),
            Cell(trial.state.name.lower(), "muted"),
            *(Cell(_text(trial.user_attrs[SETTINGS][key])) for key in keys),
        ]
        for rank, trial in enumerate(measured[:TRIALS_SHOWN])
    ]
    head = ("trial", metric, "epochs", "state", *(key.partition(".")[2] for key in keys))
    blocks.append(Grid(head, rows, texts=0, note=f"The best {len(rows)} of {len(trials)} trials.", layout="whole"))
    reasons = [trial.user_attrs[REASON] for trial in trials if REASON in trial.user_attrs]
    blocks += [Missing(f"Failed: {reason}") for reason in dict.fromkeys(reasons)]
    return Section("trials", "Trials", "Measured on the users who choose.", blocks)


def _progress(trials: Sequence[FrozenTrial], metric: str) -> list[Block]:
    """The best value so far; nothing for a few trials, which the table shows."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    bests = itertools.accumulate(map(_best, complete), max)
    line = [(float(trial.number), best) for trial, best in zip(complete, bests, strict=True)]
    if len(line) < MIN_POINTS:
        return []
    return curves(f"Best {metric} by trial", "trial", metric, {metric: line}, "{:.3f}".format)


def _curves(best: Sequence[FrozenTrial], metric: str) -> list[Block]:
    lines = {
        f"trial {trial.number}": [(float(epoch), value) for epoch, value in enumerate(values_of(trial), 1)]
        for trial in best
    }
    return curves(f"{metric} by epoch, of the best trials", "epoch", metric, lines, "{:.3f}".format)


def _best(trial: FrozenTrial) -> float:
    return float(max(values_of(trial), default=0.0))


def _mean(side: Side) -> str:
    return f"{side.mean:.4f}" + ("" if math.isnan(side.deviation) else f" ± {side.deviation:.4f}")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
