"""The chosen settings beside the configured ones: several seeds, judged on users who chose neither."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jobs.config.tuning import TakeOver
from jobs.tuning.protocol import Measured, measured
from jobs.tuning.search import Base
from jobs.tuning.space import Settings

CLEAR = 2.0  # standard errors from which a difference is more than the noise of seeds


@dataclass(frozen=True)
class Side:
    """One setting, trained with each seed."""

    runs: Sequence[Measured]

    @property
    def values(self) -> list[float]:
        """The metric of each run on the judging users, after the epoch that is best on the others."""
        return [run.judged[run.best] for run in self.runs]

    @property
    def epochs(self) -> int:
        return round(statistics.median(run.best + 1 for run in self.runs))

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds; NaN for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan


@dataclass(frozen=True)
class Comparison:
    """Both sides with the same seeds, on the clicks of the same users."""

    configured: Side
    chosen: Side

    @property
    def difference(self) -> float:
        return self.chosen.mean - self.configured.mean

    @property
    def standard_error(self) -> float:
        """Of the difference, over the seeds."""
        return math.hypot(self.chosen.deviation, self.configured.deviation) / math.sqrt(len(self.chosen.values))

    @property
    def is_clear(self) -> bool:
        """Whether the chosen settings are better by more than the noise of seeds; False with a single seed."""
        return self.difference > CLEAR * self.standard_error

    @property
    def clicks(self) -> int:
        return self.chosen.runs[0].judged_clicks

    def text(self, metric: str) -> str:
        """One line for a person."""
        sides = f"{metric} {self.chosen.mean:.4f} with the chosen settings, {self.configured.mean:.4f} with today's"
        if math.isnan(self.standard_error):
            return f"{sides}, on {self.clicks:,} clicks; one seed does not show its noise"
        found = "more than" if self.is_clear else "within"
        noise = (
            f"{found} the noise of seeds (difference {self.difference:+.4f}, standard error {self.standard_error:.4f})"
        )
        return f"{sides}, on {self.clicks:,} clicks: {noise}"


def next_step(comparison: Comparison, take_over: TakeOver, ds: dt.date, variant: str | None) -> str:
    """What a person should do with the chosen settings, in a sentence."""
    if math.isnan(comparison.standard_error):
        return "Next: run the same command with --seeds 3: one seed does not show whether the settings are better."
    if not comparison.is_clear:
        return "Next: keep today's settings, or search with more trials or on a day with more clicks."
    if variant is not None or take_over == "never":
        return "Next: pass overlay.toml with --config to use the settings."
    if take_over == "gate":
        return "Next: nothing; the next day tries the settings, and they stay if it passes the gate and is published."
    return f"Next: `batch-recall adopt-tuning --lake LAKE --ds {ds}` takes the settings over from the next day on."


def compared(base: Base, chosen: Settings, *, seeds: int, processes: int) -> Comparison:
    """Train both settings with the same new seeds, which no trial had. Raises TrialFailed if a training fails."""
    patience, first = base.config.training.patience, base.config.training.seed + 1

    def run(settings: Settings, seed: int) -> Measured:
        return measured(base.spec(settings, seed), base.config.tuning.metric, lambda found: found.is_over(patience))

    numbers = range(first, first + seeds)
    with ThreadPoolExecutor(processes) as pool:
        futures = [[pool.submit(run, settings, seed) for seed in numbers] for settings in ({}, chosen)]
        configured, other = (Side([future.result() for future in side]) for side in futures)
    return Comparison(configured, other)
