"""The verdict of a rule of the gate: a value, its bound, the noise of the value, and what to do if the rule fails."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Z = 1.96  # standard errors on either side of a value: a 95 % interval
# What to do about a rule that failed; docs/publication.md says more.
ADVICE = {
    "recall_over_popularity": "train on more days, or tune training.temperature and training.epochs",
    "recall_after_last_pass": "compare the clicks of the held-out day with those of earlier days; check learning rates",
    "recall_of_published": "compare the day's log and training with those of the published day",
    "training_rows_lost": "run train_two_tower again, on the tables as they are now",
    "input_age_days": "run the missing days, in order",
    "model_age_days": "run train_two_tower for this day",
    "coverage": "look for users with equal lists; gate.min_coverage may be lower for few users and many items",
    "never_clicked_share": 'train on them as negatives: negatives.never_clicked = 64, or training.preset = "mns"',
    "head_share": "check training.correction; gate.max_head_share may be higher for a small catalogue",
    "short_list_share": "search again with a larger search budget: raise index.recall_target",
    "user_mean_cosine": "lower training.learning_rate, and check the features of users",
    "item_mean_cosine": "lower training.learning_rate, and check the features of items",
    "index_recall": 'search another index: index.backend = "exact"',
}


@dataclass(frozen=True)
class Noise:
    """How exactly a recall was measured."""

    clicks: int
    low: float  # of a 95 % interval
    high: float
    if_undecided: bool | None  # whether a value passes whose interval has the bound inside; None: the value decides
    is_small: bool  # whether there are fewer than `gate.min_validation_clicks`

    def has_inside(self, bound: float | None) -> bool:
        """Whether the interval has the bound inside, so that more clicks could turn the verdict."""
        return bound is not None and self.low < bound <= self.high


@dataclass(frozen=True)
class Verdict:
    """A rule's value and its bounds. The value is None if it was not measured; this passes unless it is `required`.

    noise: of a value that is measured on clicks and has a lower bound.
    """

    rule: str
    value: float | None
    min_value: float | None = None
    max_value: float | None = None
    required: bool = True
    noise: Noise | None = None

    @property
    def is_undecided(self) -> bool:
        """Whether the value's interval has the bound inside, so that more clicks could turn the verdict."""
        return self.noise is not None and self.noise.has_inside(self.min_value)

    @property
    def passed(self) -> bool:
        if self.value is None:
            return not self.required
        if self.noise is not None and self.is_undecided and self.noise.if_undecided is not None:
            return self.noise.if_undecided
        above = self.min_value is None or self.value >= self.min_value
        return above and (self.max_value is None or self.value <= self.max_value)

    def __str__(self) -> str:
        bound, side = (self.max_value, "most") if self.min_value is None else (self.min_value, "least")
        if self.value is None or bound is None:
            return f"{self.rule}: not measured{'' if self.passed else f', but required{self._advice}'}"
        text = sentence(self.rule, self.value, self.min_value, self.max_value, self.noise, passed=self.passed)
        if self.passed:
            return text
        missed = self.value < bound if side == "least" else self.value > bound
        return f"{text}{f', misses it by {abs(self.value - bound):.4g}' if missed else ''}{self._advice}"

    @property
    def _advice(self) -> str:
        return f" ({ADVICE[self.rule]})" if self.rule in ADVICE else ""


def sentence(
    rule: str,
    value: float | None,
    min_value: float | None,
    max_value: float | None,
    noise: Noise | None = None,
    *,
    passed: bool,
) -> str:
    """A rule with its bound and its value, and on few clicks what decided, without a full stop."""
    bound, side = (max_value, "most") if min_value is None else (min_value, "least")
    if value is None or bound is None:
        return f"{rule} was not measured" if passed else f"{rule} must be measured, got no value"
    text = f"{rule} must be at {side} {bound:.4g}, got {value:.4g}"
    if noise is None:
        return text
    text += f" (95 % interval {noise.low:.4g} to {noise.high:.4g}, {noise.clicks:,} clicks)"
    if noise.is_small and noise.has_inside(min_value):
        text += f": too few clicks to decide, and gate.few_clicks is {'pass' if passed else 'fail'}"
    return text


def noise_of(row: Any) -> Noise | None:
    """The noise of a row of the table gate; None without an interval.

    The table does not say whether there were few clicks; a value that reached its bound and failed shows it.
    """
    if row.clicks is None or row.interval_low is None or row.interval_high is None:
        return None
    is_small = not row.passed and row.min_value is not None and row.value is not None and row.value >= row.min_value
    return Noise(row.clicks, row.interval_low, row.interval_high, None, is_small)


def sentence_of(row: Any) -> str:
    """`sentence` of a row of the table gate."""
    return sentence(row.rule, row.value, row.min_value, row.max_value, noise_of(row), passed=row.passed)


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share that was found in `count` independent trials (Wilson 1927); count above 0."""
    spread = Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)
