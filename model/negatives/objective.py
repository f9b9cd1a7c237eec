"""Which columns a step compares its queries with, and how often each is expected: the sources behind the one loss.

Axis letters: B rows, D embedding size, C columns, N items to embed, I indices of the item vocabulary, M bank columns,
H negatives of one row's own, R ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model.bank import CrossBatchBank
from model.frequency import StreamingFrequency, drift_report
from model.losses import Columns, RowNegatives, rescale_column_gradient, sampled_softmax_loss
from model.negatives import CategoricalSampler, Share, expected_count, log_count
from model.negatives.bank_warmup import BankWarmup
from model.negatives.known_clicks import KnownClicks, padded
from model.negatives.settings import Negatives
from model.negatives.sources import Probabilities, check_supplied
from model.training.limits import MIN_LEARNED_TEMPERATURE
from model.training.ranks import ALONE, Ranks

Embed = Callable[[Tensor], Tensor]  # item indices [N] -> embeddings [N, D], with gradient


class Objective:
    """The loss of a step, with the state that its sources keep: samplers, bank, estimator, a learned temperature."""

    def __init__(
        self,
        probabilities: Probabilities,
        negatives: Negatives,
        *,
        temperature: float,
        batch_size: int,
        dim: int,
        seed: int,
        learn_temperature: bool = False,
        estimator: StreamingFrequency | None = None,
        device: torch.device | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """estimator: where q comes from in place of `probabilities`; it is seeded from them.

        Of several ranks each holds all columns and the same state; batch_size counts the rows of all together.

        Raises ValueError where a source has nothing to draw from, and for a correction without counts.
        """
        self.negatives = negatives
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.steps, self.batch_size = device or torch.device("cpu"), 0, batch_size
        self.ranks = ranks
        check_supplied(probabilities, negatives)
        if learn_temperature and temperature < MIN_LEARNED_TEMPERATURE:
            raise ValueError(
                f"training.temperature wants at least {MIN_LEARNED_TEMPERATURE} where it is learned, got {temperature}"
            )
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature), device=self.device))
        self.log_temperature.requires_grad_(learn_temperature)
        draws = ((negatives.corpus, probabilities.u), (negatives.unclicked, probabilities.p))
        self.drawn = [(float(n), weights) for n, weights in draws if n]  # drawn anew for each batch
        self.samplers = [CategoricalSampler(weights.cpu()) for _, weights in self.drawn]
        self.estimator, self.dim = estimator, dim
        self.switch_to(probabilities)
        self.known = KnownClicks(negatives.bank, self.device)
        self.watch = BankWarmup(negatives.bank_warmup_steps, negatives.bank_warmup_drift, seed + 1, ranks.agree)

    def switch_to(self, probabilities: Probabilities) -> None:
        """Rows come from now on by these: what is remembered of others' shares is forgotten."""
        self.probabilities = probabilities
        self.seen = probabilities.q > 0  # [I], of whom the stream knows anything: no other is ever in a batch
        if self.estimator is not None:
            known = probabilities.q.nonzero()[:, 0]
            self.estimator.seed_from_probabilities(known, probabilities.q[known], self.batch_size)
        bank = self.negatives.bank
        self.bank = CrossBatchBank(bank, self.dim, device=self.device) if bank else None

    @property
    def temperature(self) -> Tensor:
        """0-dim; learned or fixed."""
        return self.log_temperature.exp()

    @property
    def learns(self) -> bool:
        return self.log_temperature.requires_grad

    def parameters(self) -> list[nn.Parameter]:
        """What is learned beside the towers; not to be decayed."""
        return [self.log_temperature] if self.learns else []

    def batch_share(self, ids: Tensor) -> Tensor:
        """q [C] of items [C]: counted beforehand, or as the stream says."""
        if self.estimator is None:
            return self.probabilities.q[ids]
        estimated = self.estimator.expected_count(ids).double() / self.batch_size
        return torch.where(self.seen[ids], estimated, 0.0)  # an unheard-of item's bucket holds a guess

    def bank_share(self, ids: Tensor) -> Tensor:
        """r [C] of items [C]: what a column of the bank is, by the sources that it is filled from."""
        sources: list[tuple[float, Share]] = [(float(self.batch_size), self.batch_share)]
        if self.negatives.bank_holds == "all":
            sources += self.drawn
        return expected_count(ids, sources) / sum(n for n, _ in sources)

    def draw(self) -> Tensor:
        """Item indices [corpus + unclicked], anew for each batch."""
        pairs = zip(self.drawn, self.samplers, strict=True)
        drawn = [sampler.sample(int(n), self.generator) for (n, _), sampler in pairs]
        return torch.cat(drawn).to(self.device) if drawn else torch.empty(0, dtype=torch.int64, device=self.device)

    def held(self, embed: Embed) -> tuple[Tensor, Tensor]:
        """The bank's vectors [M, D] and item indices [M]; none before it has warmed up."""
        if self.bank is None or not self.watch.is_warm(self.bank, self.steps, embed):
            return torch.empty(0, device=self.device), torch.empty(0, dtype=torch.int64, device=self.device)
        embeddings, ids, _ = self.bank.columns()
        return embeddings, ids

    def __call__(
        self,
        queries: Tensor,
        positives: Tensor,
        embed: Embed,
        history: Tensor | None = None,
        users: Tensor | None = None,
        own: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """The mean loss of a step; of several ranks, this one's part of it, and they add up.

        queries [B, D]; positives [B] item indices; embed: the item tower; history [B, L]: the user's clicks, 0 is
        padding; users [B] says whose the rows are; own [B, H]: negatives of the row's own, 0 is padding; weights [B].
        What `mask` does not call for may be left out.
        """
        if self.learns:  # the parameter is held, not its value: below the floor it would have no gradient to rise by
            self.log_temperature.data.clamp_(min=math.log(MIN_LEARNED_TEMPERATURE))
        counts = self.ranks.counts(len(positives), self.device)  # [R]
        drawn = self.draw()
        mine = drawn[self.ranks.share(len(drawn))]
        own_ids, own_places = own.unique(return_inverse=True) if own is not None else (positives[:0], None)
        embedded = embed(torch.cat([positives, mine, own_ids]))  # [N, D]
        fresh = self.ranks.gather_columns(embedded[: len(positives) + len(mine)], counts, len(drawn))  # [C - M, D]
        all_positives = self.ranks.gather(positives, counts)
        all_users = None if users is None else self.ranks.gather(users, counts)
        fresh_ids = torch.cat([all_positives, drawn])  # [C - M]
        held, held_ids = self.held(embed)  # [M, D], [M]
        others = max(
            len(all_positives) - 1, 1
        )  # a single row's own column is masked, and wants a finite count all the same
        fresh_terms: list[tuple[float, Share]] = [(float(others), self.batch_share), *self.drawn]
        ids = torch.cat([fresh_ids, held_ids])  # [C]
        fresh_n = expected_count(ids, fresh_terms)  # [C], what carries gradient
        log_n = log_count(fresh_n + len(held_ids) * self.bank_share(ids) if len(held_ids) else fresh_n)  # [C]
        fresh_log_n, held_log_n = log_n[: len(fresh_ids)], log_n[len(fresh_ids) :]
        start = sum(counts[: self.ranks.rank])  # where this rank's positives stand
        columns = fresh
        if len(held_ids) and self.negatives.bank_gradient_rescaling:
            columns = rescale_column_gradient(fresh, fresh_log_n, log_count(fresh_n[: len(fresh_ids)]))
        row_negatives = None
        if own is not None:
            vectors = embedded[len(positives) + len(mine) :][own_places]  # [B, H, D]
            row_negatives = RowNegatives(vectors, padded(own), self.negatives.row_log_weight)
        loss = sampled_softmax_loss(
            queries,
            embedded[: len(positives)],
            positives,
            Columns(columns, fresh_ids, fresh_log_n),
            temperature=self.temperature,
            correction=self.negatives.correction,
            positive_log_expected_count=log_n[start : start + len(positives)],
            row_negatives=row_negatives,
            excluded_ids=self.known.excluded(self.negatives.mask, users, history, all_users, all_positives),
            weights=weights,
            constant_columns=Columns(held, held_ids, held_log_n) if len(held_ids) else None,
        )
        self._keep(fresh, fresh_ids, all_positives, all_users)
        return loss if self.ranks.size == 1 else loss * (len(positives) / max(len(all_positives), 1))

    def _keep(self, fresh: Tensor, fresh_ids: Tensor, positives: Tensor, users: Tensor | None) -> None:
        """Remember this step for the steps to come: its columns in the bank, its ids in the estimator."""
        self.steps += 1
        if users is not None:
            self.known.push(users, positives)
        if self.bank is not None:
            kept = len(fresh_ids) if self.negatives.bank_holds == "all" else len(positives)
            # shuffled, so that of a push that the ring cuts no source stays more often than another
            order = torch.randperm(kept, generator=self.generator).to(self.device)
            self.bank.push(fresh[order].detach(), fresh_ids[order], self.steps)
        # an epoch's last, smaller batch would say that items have become rarer: it is no step of the stream
        if self.estimator is not None and len(positives) >= self.batch_size:
            self.estimator.update(positives, self.estimator.step + 1)
            self.seen[positives] = True

    def report(self) -> dict[str, Any]:
        """What the sources have come to, for the model version's metrics."""
        found: dict[str, Any] = {"temperature": float(self.temperature.detach())}
        if self.bank is not None:
            found |= self.watch.report()
        if self.estimator is not None:
            ids = self.probabilities.q.nonzero()[:, 0]
            found["estimator"] = drift_report(ids, self.batch_share(ids), self.probabilities.q[ids])
            found["estimator"]["updates"] = self.estimator.step
        return found

    def state_dict(self) -> dict[str, Any]:
        """All that the loss of a resumed run needs in order to go on as if it had not stopped."""
        return {
            "steps": self.steps,
            "generator": self.generator.get_state(),
            "log_temperature": self.log_temperature.detach().clone(),
            "watch": self.watch.state_dict(),
            "known": self.known.state_dict(),
            "bank": None if self.bank is None else self.bank.state_dict(),
            "estimator": None if self.estimator is None else self.estimator.state_dict(),
            "seen": self.seen.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError where the saved sources are not these."""
        for name in ("bank", "estimator"):
            saved, here = state[name] is not None, getattr(self, name) is not None
            if saved != here:
                got = f"a {name}, this one has not" if saved else f"no {name}, this one has"
                raise ValueError(f"the saved objective has {got}")
        self.steps = state["steps"]
        self.generator.set_state(state["generator"])
        self.log_temperature.data.copy_(state["log_temperature"])
        self.watch.load_state_dict(state["watch"])
        self.known.load_state_dict(state["known"])
        if self.bank is not None:
            self.bank.load_state_dict(state["bank"])
        if self.estimator is not None:
            self.estimator.load_state_dict(state["estimator"])
        self.seen.copy_(state["seen"])
