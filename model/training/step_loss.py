"""The loss of a batch: both towers on its rows, and the order's sources of negatives beside them.

Axis letters: B rows, N items to embed, D embedding size, H negatives of one row's own, L length of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from model.data.loaders import item_column, item_table
from model.features import FeatureSpec
from model.frequency import StreamingFrequency
from model.negatives.objective import Objective
from model.negatives.sources import Probabilities
from model.towers import TwoTowers, drop_ids
from model.training.loop import Batch
from model.training.ranks import ALONE, Ranks
from model.training.spec import Order
from model.vocabulary import PADDING


class StepLoss:
    """The loss, with the one state that is neither in the towers nor in the objective: which ids are dropped."""

    def __init__(
        self, towers: TwoTowers, order: Order, objective: Objective, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        self.towers, self.order, self.objective, self.device = towers, order, objective, device
        self.size = order.spec.vocabulary_sizes["item_id"]
        self.items = item_inputs(order, self.size, device)
        # the objective has the seeds before it; each rank drops ids of its own rows
        self.generator = torch.Generator().manual_seed(order.settings.seed + 2 + 1_000_003 * ranks.rank)

    def __call__(self, batch: Batch) -> Tensor:
        """0-dim; of several ranks, this one's part. Raises ValueError for an item beyond the vocabulary."""
        settings, order = self.order.settings, self.order
        indices = [batch[name] for name in ("item_index", "unclicked") if name in batch and len(batch[name])]
        if (last := max((int(index.max()) for index in indices), default=0)) >= self.size:
            raise ValueError(f"the examples hold item index {last}, and the item vocabulary ends before {self.size}")
        batch = {name: values.to(self.device, non_blocking=True) for name, values in batch.items()}
        shares = (settings.user_id_dropout, settings.history_dropout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            queries = self.towers.user(with_dropped_ids(batch, order.spec.user, *shares, self.generator))  # [B, D]
            return self.objective(
                queries,
                batch["item_index"],
                self.embed,
                history=batch.get("history"),
                users=batch.get("user_index"),
                own=own_negatives(batch, order),
                weights=batch.get("weight"),
            )

    def embed(self, indices: Tensor) -> Tensor:
        """Item indices [N] -> [N, D], some of the ids made unknown."""
        share = self.order.settings.item_id_dropout
        inputs = with_dropped_ids(self._described(indices), self.order.spec.item, share, 0.0, self.generator)
        embedded: Tensor = self.towers.item(inputs)
        return embedded

    def embed_all(self, indices: Tensor) -> Tensor:
        """The same with every id as it is."""
        embedded: Tensor = self.towers.item(self._described(indices))
        return embedded

    def _described(self, indices: Tensor) -> dict[str, Tensor]:
        return {name: values[indices] for name, values in self.items.items()}


def make_objective(order: Order, device: torch.device, ranks: Ranks = ALONE) -> Objective:
    """The order's loss with its sources of negatives; its examples are those that are learnt from first."""
    size, settings = order.spec.vocabulary_sizes["item_id"], order.settings
    estimator = None
    if settings.frequency_source == "streaming":
        estimator = StreamingFrequency(
            settings.streaming_buckets or size,
            hashes=settings.streaming_hashes,
            alpha=settings.streaming_rate,
            device=device,
        )
    return Objective(
        sampling_probs(order, order.share, device),
        order.negatives,
        temperature=settings.temperature,
        batch_size=settings.batch_size // ranks.size * ranks.size,
        dim=order.spec.embedding_dim,
        seed=settings.seed,
        learn_temperature=settings.learn_temperature,
        estimator=estimator,
        device=device,
        ranks=ranks,
    )


def sampling_probs(order: Order, share: str, device: torch.device) -> Probabilities:
    """u and p, and beside them the q of the rows that are learnt from: `share` is q, q_before or q_last."""
    size = order.spec.vocabulary_sizes["item_id"]
    return Probabilities(*(item_column(order.probabilities, name, size).to(device) for name in (share, "u", "p")))


def own_negatives(batch: Batch, order: Order) -> Tensor | None:
    """Items [B, H] that the row's user was shown in its request and left, 0 is padding; None where not asked for.

    A row has none before its outcome was final: until then a click may still come.
    """
    if not order.negatives.row:
        return None
    final = batch["outcome_final_at"] < order.final_before  # [B]
    return batch["unclicked"][:, : order.negatives.row] * final[:, None]  # [B, H]


def item_inputs(order: Order, size: int, device: torch.device) -> dict[str, Tensor]:
    """Each item feature of the pinned snapshot by item_index, on the device."""
    described = [feature for feature in order.spec.item if feature.kind != "id"]
    table = item_table(order.items, described, size)
    ids = {feature.name: torch.arange(size) for feature in order.spec.item if feature.kind == "id"}
    return {name: values.to(device) for name, values in {**table, **ids}.items()}


def with_dropped_ids(
    inputs: Mapping[str, Tensor],
    features: tuple[FeatureSpec, ...],
    share: float,
    history_share: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """`features` of `inputs`, a random share of the ids made unknown, and of the history's clicks left out."""
    dropped = {feature.name: inputs[feature.name] for feature in features}
    for feature in features:
        if feature.kind == "id":
            dropped[feature.name] = drop_ids(inputs[feature.name], share, generator)
        elif feature.name == "history":
            dropped[feature.name] = drop_ids(inputs[feature.name], history_share, generator, by=PADDING)
    return dropped
