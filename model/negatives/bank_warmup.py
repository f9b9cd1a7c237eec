"""When a bank may be used, and how old and how far drifted its columns are.

Axes: S sampled columns, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model.bank import CrossBatchBank

MEASURED_EVERY = 20  # steps: embedding the sample again then costs little beside the steps themselves
SAMPLE = 256  # columns


class BankWarmup:
    """The bank's columns are used after `warmup_steps` steps, or as soon as their drift has fallen to `warmup_drift`.

    Drift of a column is 1 - <v, v'>, v the stored vector and v' the item's vector now (both of norm 1); the drift of
    the bank is the median over a sample of it, so that columns whose item id was dropped do not decide. 0 as
    `warmup_drift` leaves the decision to the steps alone.
    """

    def __init__(
        self, warmup_steps: int, warmup_drift: float, seed: int, agree: Callable[[float], float] = lambda value: value
    ) -> None:
        """agree: makes one drift of those that several ranks measure, who must all use the bank or not."""
        if warmup_steps < 0 or not 0 <= warmup_drift <= 2:
            got = f"{warmup_steps} and {warmup_drift}"
            raise ValueError(f"bank_warmup_steps must be 0 or more and bank_warmup_drift lie in [0, 2], got {got}")
        self.warmup_steps, self.warmup_drift, self.agree = warmup_steps, warmup_drift, agree
        self.generator = torch.Generator().manual_seed(seed)
        self.drift, self.age = float("nan"), float("nan")  # as measured last; age in steps
        self.warm_at: int | None = None  # the first step, counted from 0, that used the bank

    def is_warm(self, bank: CrossBatchBank, steps: int, embed: Callable[[Tensor], Tensor]) -> bool:
        """Whether step number `steps` (from 0) may use the bank; measures it from time to time.

        embed: the item tower, [S] item indices -> [S, D].
        """
        if len(bank) and steps % MEASURED_EVERY == 0:
            self._measure(bank, steps, embed)
        if self.warm_at is None and len(bank):
            steady = self.warmup_drift > 0 and self.drift <= self.warmup_drift
            if steady or steps >= self.warmup_steps:
                self.warm_at = steps
        return self.warm_at is not None

    @torch.no_grad()
    def _measure(self, bank: CrossBatchBank, steps: int, embed: Callable[[Tensor], Tensor]) -> None:
        stored, ids, made_at = bank.draw(SAMPLE, self.generator)  # [S, D], [S], [S]
        now = embed(ids).to(stored)  # [S, D]
        self.drift = self.agree(float((1 - (stored * now).sum(dim=1)).median()))
        self.age = float((steps - made_at).double().mean())  # a column of the step before counts as 0

    def report(self) -> dict[str, float | int | None]:
        """`bank_drift`, `bank_age` (steps), `bank_warm_at` (a step); None for what was not measured or is not yet."""
        measured = {"bank_drift": self.drift, "bank_age": self.age}
        return {name: None if value != value else value for name, value in measured.items()} | {
            "bank_warm_at": self.warm_at
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "drift": self.drift,
            "age": self.age,
            "warm_at": self.warm_at,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.drift, self.age, self.warm_at = state["drift"], state["age"], state["warm_at"]
        self.generator.set_state(state["generator"])
