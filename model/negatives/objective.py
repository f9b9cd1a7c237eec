"""The loss of a training step: its queries against all columns of the mixture and the rows' own negatives.

Axes: B rows of this rank, Q interests of a user, D embedding size, H negatives of one row, L items of a history,
N items to embed, R ranks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from model.data import devices
from model.frequency import StreamingFrequency
from model.losses import RowNegatives, sampled_softmax_loss
from model.losses.interests import interest_of_positive
from model.negatives.known_clicks import KnownClicks, padding_to_no_item
from model.negatives.mixture import Embed, Mixture
from model.negatives.settings import Negatives
from model.negatives.sources import Probabilities
from model.training.processes.ranks import ALONE, Ranks
from model.training.spec import MIN_LEARNED_TEMPERATURE


def items_to_embed(own: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct items [N] of the rows' own negatives [B, H], and the position of each negative among them [B, H].

    Where reading a value makes the host wait, all of them, distinct or not.
    """
    if devices.is_asynchronous(own.device):
        return own.reshape(-1), torch.arange(own.numel(), device=own.device).view_as(own)
    items, positions = own.unique(return_inverse=True)
    return items, positions


class Objective:
    """The sampled softmax loss and all training state outside the towers: sources, bank, known clicks, temperature."""

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
        positive_temperature_ratio: float = 1.0,
        estimator: StreamingFrequency | None = None,
        device: torch.device | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """batch_size: rows of all ranks together; estimator: see `InBatch`; positive_temperature_ratio: the temperature
        of the positives, as a multiple of the temperature of the negatives, which may be learned.

        Raises ValueError for a source without items, a correction without counts, and a temperature that is too low to
        be learned.
        """
        if learn_temperature and temperature < MIN_LEARNED_TEMPERATURE:
            raise ValueError(
                f"training.temperature must be at least {MIN_LEARNED_TEMPERATURE} to be learned, got {temperature}"
            )
        self.negatives, self.ranks, self.device = negatives, ranks, device or torch.device("cpu")
        self.mixture = Mixture(
            negatives,
            probabilities,
            batch_size=batch_size,
            dim=dim,
            seed=seed,
            estimator=estimator,
            device=self.device,
            broadcast=ranks.broadcast,
        )
        self.known = KnownClicks(negatives.bank, self.device)
        self.positive_temperature_ratio = positive_temperature_ratio
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature), device=self.device))
        self.log_temperature.requires_grad_(learn_temperature)

    def switch_to(self, probabilities: Probabilities) -> None:
        """From now on, the training rows are others, with these probabilities."""
        self.mixture.switch_to(probabilities)

    @property
    def temperature(self) -> Tensor:
        """0-dim; learned or fixed."""
        return self.log_temperature.exp()

    @property
    def positive_temperature(self) -> Tensor | None:
        """0-dim; None if it is the temperature of the negatives too."""
        ratio = self.positive_temperature_ratio
        return None if ratio == 1 else self.temperature * ratio

    def parameters(self) -> list[nn.Parameter]:
        """The learned parameters outside the towers; weight decay must not be applied to them."""
        return [self.log_temperature] if self.log_temperature.requires_grad else []

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
        """The mean loss over the rows of all ranks, 0-dim; with several ranks, this rank's summand of it.

        queries [B, D], or [B, Q, D] with several interests, of which a row's loss takes the best one for its positive;
        positives [B] clicked items; embed: the item tower, which is given the positives first; history
        [B, L]: the user's clicks, padded with 0 (for the mask `history`); users [B] (for the masks `user` and
        `history`); own [B, H]: the rows' own negatives, padded with 0; weights [B]. Raises ValueError if an input that
        the mask needs is None.
        """
        self._limit_temperature()
        counts = self.ranks.counts(len(positives), self.device)  # [R]
        drawn = self.mixture.draw()
        part = drawn[self.ranks.share(len(drawn))]  # the drawn items that this rank embeds
        row_items, positions = (positives[:0], None) if own is None else items_to_embed(own)
        vectors = embed(torch.cat([positives, part, row_items]))  # [N, D]
        own_columns, row_vectors = vectors.split([len(positives) + len(part), len(row_items)])
        if queries.dim() == 3:
            queries = interest_of_positive(queries, own_columns[: len(positives)])  # [B, D]
        fresh = self.ranks.gather_columns(own_columns, counts, len(drawn))
        all_positives = self.ranks.gather(positives, counts)
        all_users = None if users is None else self.ranks.gather(users, counts)
        ids, rows = torch.cat([all_positives, drawn]), len(all_positives)
        columns = self.mixture.columns(fresh, ids, rows, embed)
        start = sum(counts[: self.ranks.rank])  # of this rank's rows among all rows
        row_negatives = None
        if own is not None:
            row_negatives = RowNegatives(row_vectors[positions], padding_to_no_item(own), self.negatives.row_log_weight)
        loss = sampled_softmax_loss(
            queries,
            own_columns[: len(positives)],
            positives,
            columns.fresh,
            temperature=self.temperature,
            positive_temperature=self.positive_temperature,
            correction=self.negatives.correction,
            positive_log_expected_count=columns.fresh.log_expected_count[start : start + len(positives)],
            row_negatives=row_negatives,
            excluded_ids=self.known.excluded(self.negatives.mask, users, history, all_users, all_positives),
            weights=weights,
            constant_columns=columns.stored,
        )
        if all_users is not None:
            self.known.push(all_users, all_positives)
        self.mixture.after_step(fresh, ids, rows)
        return loss if self.ranks.size == 1 else loss * (len(positives) / max(rows, 1))

    def _limit_temperature(self) -> None:
        """Raise a learned temperature to its minimum, if it is lower."""
        if self.log_temperature.requires_grad:  # a clamped copy would get no gradient
            self.log_temperature.data.clamp_(min=math.log(MIN_LEARNED_TEMPERATURE))

    def report(self) -> dict[str, Any]:
        """Measurements for the model version's metrics."""
        return {"temperature": float(self.temperature.detach()), **self.mixture.report()}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to continue as if it had not stopped."""
        return {
            "log_temperature": self.log_temperature.detach().clone(),
            "known": self.known.state_dict(),
            "mixture": self.mixture.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises what `Mixture.load_state_dict` raises."""
        self.log_temperature.data.copy_(state["log_temperature"])
        self.known.load_state_dict(state["known"])
        self.mixture.load_state_dict(state["mixture"])
