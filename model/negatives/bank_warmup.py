"""Decides when a bank may be used, and measures the age and the drift of its columns.

Axes: S sampled columns, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model.bank import CrossBatchBank

MEASURED_EVERY = 20  # steps; seldom enough that embedding the sample costs little
SAMPLE = 256  # columns


class BankWarmup:
    """The bank is used after `warmup_steps` steps, or as soon as its drift is at most `warmup_drift`.

    The drift of a column is 1 - <v, v'>, where v is the stored and v' the present vector of the item, both of norm 1.
    The drift of the bank is the median over a sample, so that the few columns with a dropped item id do not matter.
    If `warmup_drift` is 0, only the number of steps decides.
    """

    def __init__(
        self,
        warmup_steps: int,
        warmup_drift: float,
        seed: int,
        broadcast: Callable[[float], float] = lambda value: value,
    ) -> None:
        """broadcast: returns rank zero's value of a measured drift, so that all ranks decide the same."""
        if warmup_steps < 0 or not 0 <= warmup_drift <= 2:
            got = f"{warmup_steps} and {warmup_drift}"
            raise ValueError(f"bank_warmup_steps must be 0 or more and bank_warmup_drift in [0, 2], got {got}")
        self.warmup_steps, self.warmup_drift, self.broadcast = warmup_steps, warmup_drift, broadcast
        self.generator = torch.Generator().manual_seed(seed)
        self.drift, self.age = float("nan"), float("nan")  # the last measurement; the age is in steps
        self.warm_at: int | None = None  # the first step, counted from 0, that used the bank

    def is_warm(self, bank: CrossBatchBank, step: int, embed: Callable[[Tensor], Tensor]) -> bool:
        """Whether step number `step` (from 0) may use the bank. Every `MEASURED_EVERY` steps it measures drift and age.

        embed: the item tower, [S] item indices -> [S, D].
        """
        if len(bank) and step % MEASURED_EVERY == 0:
            self._measure(bank, step, embed)
        if self.warm_at is None and len(bank):
            has_settled = self.warmup_drift > 0 and self.drift <= self.warmup_drift
            if has_settled or step >= self.warmup_steps:
                self.warm_at = step
        return self.warm_at is not None

    @torch.no_grad()
    def _measure(self, bank: CrossBatchBank, step: int, embed: Callable[[Tensor], Tensor]) -> None:
        stored, ids, made_at = bank.draw(SAMPLE, self.generator)  # [S, D], [S], [S]
        present = embed(ids).to(stored)  # [S, D]
        drift = (1 - (stored * present).sum(dim=1)).median().double()
        age = (step - made_at).double().mean()  # 0 for a column of the step before
        measured, self.age = torch.stack([drift, age]).tolist()
        self.drift = self.broadcast(measured)

    def report(self) -> dict[str, float | int | None]:
        """`bank_drift`, `bank_age` (in steps) and `bank_warm_at` (a step); None if not measured or not warm yet."""
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
