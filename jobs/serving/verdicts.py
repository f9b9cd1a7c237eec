"""The verdict of a rule of the gate: a value, its bound, the noise of the value, and what to do if the rule fails."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    "short_list_share": "run build_item_index and score_users again, with a larger search budget (index.recall_target)",
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
        if self.noise is None or self.min_value is None:
            return False
        return self.noise.low < self.min_value <= self.noise.high

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
        text = f"{self.rule} must be at {side} {bound:.4g}, got {self.value:.4g}{self._noise}"
        if self.passed:
            return text
        missed = self.value < bound if side == "least" else self.value > bound
        return f"{text}{f', misses it by {abs(self.value - bound):.4g}' if missed else ''}{self._advice}"

    @property
    def _noise(self) -> str:
        if self.noise is None:
            return ""
        text = f" (95 % interval {self.noise.low:.4g} to {self.noise.high:.4g}, {self.noise.clicks:,} clicks)"
        if self.is_undecided and self.noise.is_small:
            text += f": too few clicks to decide, and gate.few_clicks is {'pass' if self.passed else 'fail'}"
        return text

    @property
    def _advice(self) -> str:
        return f" ({ADVICE[self.rule]})" if self.rule in ADVICE else ""


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share that was found in `count` independent trials (Wilson 1927); count above 0."""
    spread = Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)
