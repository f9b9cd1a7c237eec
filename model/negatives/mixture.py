"""All shared columns of a step: their items, their vectors, and how often each item is expected among them.

Axes: B rows of the batch of all ranks, C columns, D embedding size, M stored columns, N columns of this step,
S drawn items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.frequency import StreamingFrequency
from model.losses import Columns, rescale_column_gradient
from model.negatives.bank_columns import BankColumns
from model.negatives.bank_warmup import BankWarmup
from model.negatives.checks import check_probabilities
from model.negatives.in_batch import InBatch
from model.negatives.samplers import log_count
from model.negatives.settings import Negatives
from model.negatives.sources import Probabilities, make_sources

Embed = Callable[[Tensor], Tensor]  # item indices [N] -> vectors [N, D], with gradient


class StepColumns(NamedTuple):
    """The shared columns of a step, in two parts."""

    fresh: Columns  # of this step: the rows' positives [B], then the drawn items [S]; with gradient
    stored: Columns | None  # of past steps, without gradient; None if there are none


class Mixture:
    """In-batch columns, the configured sources, and the bank. The expected count of item j is their sum:

    n(j) = (B - 1) q(j) + sum of the sources' expected counts + M r(j)
    """

    def __init__(
        self,
        negatives: Negatives,
        probabilities: Probabilities,
        *,
        batch_size: int,
        dim: int,
        seed: int,
        estimator: StreamingFrequency | None,
        device: torch.device,
        broadcast: Callable[[float], float],
    ) -> None:
        """seed: of the draws; the bank's measurements use seed + 1. broadcast: see `BankWarmup`.

        Raises ValueError for an unknown choice, unusable probabilities, and a source that cannot be created.
        """
        check_probabilities(probabilities, negatives)
        self.negatives, self.batch_size, self.device = negatives, batch_size, device
        self.generator = torch.Generator(device).manual_seed(seed)
        self.steps = 0  # steps done
        self.sources = make_sources(negatives.sources, probabilities)
        self.in_batch = InBatch(probabilities, batch_size, estimator)
        self.bank = None
        if negatives.bank:
            warmup = BankWarmup(negatives.bank_warmup_steps, negatives.bank_warmup_drift, seed + 1, broadcast)
            self.bank = BankColumns(negatives.bank, dim, warmup, self.bank_probability, device)

    def switch_to(self, probabilities: Probabilities) -> None:
        """From now on, the training rows have these probabilities. The bank is emptied, as its columns had others."""
        self.in_batch.switch_to(probabilities)
        for source in self.sources.values():
            source.switch_to(probabilities)
        if self.bank is not None:
            self.bank.clear()

    def draw(self) -> Tensor:
        """The items that the sources draw for one batch, [S] int64."""
        drawn = [source.draw(self.generator) for source in self.sources.values()]
        for (name, source), items in zip(self.sources.items(), drawn, strict=True):
            if items.shape != (source.draws,):
                raise ValueError(f"source {name} must draw {source.draws} items, got shape {list(items.shape)}")
        return torch.cat(drawn).to(self.device) if drawn else torch.empty(0, dtype=torch.int64, device=self.device)

    def columns(self, embeddings: Tensor, ids: Tensor, rows: int, embed: Embed) -> StepColumns:
        """The columns of a batch of `rows` rows, with their expected counts.

        embeddings [N, D] and ids [N]: the rows' positives, then the drawn items.
        """
        stored = None if self.bank is None else self.bank.columns(self.steps, embed)
        if self.bank is None or stored is None:
            return StepColumns(Columns(embeddings, ids, log_count(self.fresh_count(ids, rows))), None)
        stored_embeddings, stored_ids = stored
        all_ids = torch.cat([ids, stored_ids])  # [C]
        fresh_count = self.fresh_count(all_ids, rows)  # [C]
        log_n = log_count(fresh_count + self.bank.expected_count(all_ids, len(stored_ids)))  # [C]
        fresh_log_n, stored_log_n = log_n.split([len(ids), len(stored_ids)])
        if self.negatives.bank_gradient_rescaling:
            embeddings = rescale_column_gradient(embeddings, fresh_log_n, log_count(fresh_count[: len(ids)]))
        return StepColumns(Columns(embeddings, ids, fresh_log_n), Columns(stored_embeddings, stored_ids, stored_log_n))

    def fresh_count(self, ids: Tensor, rows: int) -> Tensor:
        """How often items [C] are expected among this step's columns, which have a gradient: [C] float64."""
        count = self.in_batch.expected_count(ids, rows)
        for source in self.sources.values():
            count = count + source.expected_count(ids)
        return count

    def bank_probability(self, ids: Tensor) -> Tensor:
        """r [C] float64 of items [C]: the probability that a column of the bank is the item."""
        count, size = self.batch_size * self.in_batch.probability(ids).double(), self.batch_size
        if self.negatives.bank_holds == "all":
            for source in self.sources.values():
                count, size = count + source.expected_count(ids), size + source.draws
        return count / size

    def after_step(self, embeddings: Tensor, ids: Tensor, rows: int) -> None:
        """Update the bank, the sources and the estimator with a finished step; arguments as in `columns`."""
        self.steps += 1
        if self.bank is not None:
            size = len(ids) if self.negatives.bank_holds == "all" else rows
            self.bank.push(embeddings[:size], ids[:size], self.steps, self.generator)
        self.in_batch.after_step(ids[:rows])
        for source in self.sources.values():
            source.after_step(ids[:rows])

    def report(self) -> dict[str, Any]:
        """Measurements for the model version's metrics."""
        of_sources = {name: report for name, source in self.sources.items() if (report := source.report())}
        return {
            **({} if self.bank is None else self.bank.warmup.report()),
            **self.in_batch.report(),
            **({"sources": of_sources} if of_sources else {}),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "generator": self.generator.get_state(),
            "in_batch": self.in_batch.state_dict(),
            "bank": None if self.bank is None else self.bank.state_dict(),
            "sources": {name: source.state_dict() for name, source in self.sources.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises ValueError if its sources differ, or if only one has a bank."""
        if list(state["sources"]) != list(self.sources):
            raise ValueError(f"the saved sources must be {list(self.sources)}, got {list(state['sources'])}")
        if (state["bank"] is None) != (self.bank is None):
            wanted, got = ("no", "one") if self.bank is None else ("a", "none")
            raise ValueError(f"the saved state must have {wanted} bank, got {got}")
        self.steps = state["steps"]
        self.generator.set_state(state["generator"])
        self.in_batch.load_state_dict(state["in_batch"])
        if self.bank is not None:
            self.bank.load_state_dict(state["bank"])
        for name, source in self.sources.items():
            source.load_state_dict(state["sources"][name])
