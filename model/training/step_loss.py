"""The loss of a batch: embeds its rows with both towers, and adds the negatives of the configured sources.

Axis letters: B rows, N items to embed, D embedding size, H negatives of one row's own, C changes of items, I indices of
the item vocabulary, L length of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from model.data.item_tables import EPOCH_DAY, ItemVersions
from model.features import FeatureSpec
from model.features.tensors import aged
from model.frequency import StreamingFrequency
from model.negatives.objective import Objective
from model.negatives.sources import Probabilities
from model.towers import TwoTowers, drop_ids
from model.training.loop import Batch
from model.training.processes.ranks import ALONE, Ranks
from model.training.spec import LossSpec
from model.vocabulary import PADDING, UNKNOWN


class StepLoss:
    """Computes the loss of a batch. Its only own state is the generator of what is dropped."""

    def __init__(
        self,
        towers: TwoTowers,
        objective: Objective,
        spec: LossSpec,
        item_inputs: Mapping[str, Tensor],
        versions: ItemVersions,
        *,
        validation_day: int,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        """item_inputs: each item feature, [I + C] or [I + C, L]; versions: its row for an item as of a day.

        validation_day: as of which `embed_all` embeds, in days since 1970-01-01.
        """
        self.towers, self.objective, self.spec, self.device = towers, objective, spec, device
        self.items, self.versions, self.validation_day = item_inputs, versions, validation_day
        # the objective uses seed and seed + 1; ranks have different generators because they drop ids of different rows
        self.generator = torch.Generator(device).manual_seed(seed + 2 + 1_000_003 * ranks.rank)

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, 0-dim; with several ranks, this rank's part of it."""
        batch = {name: values.to(self.device, non_blocking=True) for name, values in batch.items()}
        shares = (self.spec.user_id_dropout, self.spec.history_dropout)
        inputs = with_dropped_ids(batch, self.towers.spec.user, *shares, self.generator)
        with self.towers.dropout(self.spec.user_encoder_dropout, self.generator):
            queries = self.towers.user(inputs)  # [B, D], or [B, Q, D] with Q interests
        return self.objective(
            queries,
            batch["item_index"],
            partial(self.embed, days=batch.get(EPOCH_DAY.name)),
            history=batch.get("history"),
            users=batch.get("user_index"),
            own=own_negatives(batch, self.spec),
            weights=batch.get("weight"),
        )

    def embed(self, indices: Tensor, days: Tensor | None = None) -> Tensor:
        """Item indices [N] -> [N, D]; a random share of the ids is replaced by the unknown id.

        days [B]: of the rows of the batch. The first B items are those of the rows, with their features as of the
        row's day; item n has them as of the day of row n modulo B, so that none is described by a later day.
        None: no item has changed, and none has a feature that changes with the day.
        """
        share = self.spec.item_id_dropout
        inputs = self._features_of(indices, None if days is None else repeated(days, len(indices)))
        embedded: Tensor = self.towers.item(with_dropped_ids(inputs, self.towers.spec.item, share, 0.0, self.generator))
        return embedded

    def embed_all(self, indices: Tensor, *, by_features: bool = False) -> Tensor:
        """Item indices [N] -> [N, D], with their features as of the validation day, without dropout.

        by_features: as if the ids were out of vocabulary.
        """
        inputs = self._features_of(indices, torch.full_like(indices, self.validation_day))
        if by_features:
            ids = {feature.name for feature in self.towers.spec.item if feature.is_id}
            unknown = torch.full_like(indices, UNKNOWN)
            inputs = {name: unknown if name in ids else values for name, values in inputs.items()}
        embedded: Tensor = self.towers.item(inputs)
        return embedded

    def _features_of(self, indices: Tensor, days: Tensor | None) -> dict[str, Tensor]:
        if days is None:
            return {name: values[indices] for name, values in self.items.items()}
        rows = self.versions.rows(indices, days)  # [N]
        return aged({name: values[rows] for name, values in self.items.items()}, self.towers.spec.item, days)


def make_objective(
    spec: LossSpec,
    probabilities: Probabilities,
    *,
    dim: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Objective:
    """The configured loss with its sources of negatives. batch_size: rows of a step, of all ranks together."""
    estimator = None
    if spec.frequency_source == "streaming":
        estimator = StreamingFrequency(
            spec.streaming_buckets or len(probabilities.q),
            hashes=spec.streaming_hashes,
            alpha=spec.streaming_rate,
            device=device,
        )
    return Objective(
        probabilities,
        spec.negatives,
        temperature=spec.temperature,
        batch_size=batch_size // ranks.size * ranks.size,
        dim=dim,
        seed=seed,
        learn_temperature=spec.learn_temperature,
        positive_temperature_ratio=spec.positive_temperature_ratio,
        estimator=estimator,
        device=device,
        ranks=ranks,
    )


def repeated(days: Tensor, count: int) -> Tensor:
    """days [B] over and over, [count]; day 0 if B is 0, as of which an item is as it was first known."""
    days = days if len(days) else days.new_zeros(1)
    return days.repeat(-(-count // len(days)))[:count]


def own_negatives(batch: Batch, spec: LossSpec) -> Tensor | None:
    """Items [B, H] that were shown to the row's user in the same request and not clicked, padded with 0.

    None if `negatives.row` is 0. A row whose outcome was not final before `final_before` has no own negatives, because
    its items might still be clicked.
    """
    if not spec.negatives.row:
        return None
    final = batch["outcome_final_at"] < spec.final_before  # [B]
    return batch["unclicked"][:, : spec.negatives.row] * final[:, None]  # [B, H]


def with_dropped_ids(
    inputs: Mapping[str, Tensor],
    features: tuple[FeatureSpec, ...],
    share: float,
    history_share: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The inputs of `features`, with a random `share` of the ids set to unknown.

    A random `history_share` of the clicks in the history is replaced by padding.
    """
    dropped = {feature.name: inputs[feature.name] for feature in features}
    for feature in features:
        if feature.is_id:
            dropped[feature.name] = drop_ids(inputs[feature.name], share, generator)
        elif feature.name == "history":
            dropped[feature.name] = drop_ids(inputs[feature.name], history_share, generator, by=PADDING)
    return dropped
