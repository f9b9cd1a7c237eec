"""What a training run reads of its pinned files: batches of examples, item features, sampling probabilities.

Axis letters: B rows of a batch, C changes of items, I indices of the item vocabulary, L length of a list feature,
V rows of an embedding table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import islice

import torch
from torch import Tensor

from model.data.devices import on_device
from model.data.held_back import USER_INDEX, held_back
from model.data.item_tables import EPOCH_DAY, ITEM_INDEX, ItemVersions, item_column, item_table, item_versions
from model.data.live_indices import TrainedRows, example_columns, live_indices
from model.data.loaders import epoch_batches
from model.data.pinned_files import PinnedFiles
from model.data.shards import shards
from model.data.verification import check_files
from model.features import FeatureSpec, ModelSpec
from model.negatives.sources import Probabilities
from model.training.loop import Batch
from model.training.processes.ranks import ALONE, Ranks
from model.training.spec import DataSpec, LossSpec

EXAMPLES, LAST_DAY = "training_examples", "training_examples of the last day"  # as error messages name them
LAST_DAY_SHARE = "q_last"  # the column of item_sampling_probs with each item's share of the last day's rows
AVAILABLE = "available"  # the column of item_snapshot


def example_features(model: ModelSpec, loss: LossSpec, data: DataSpec) -> list[FeatureSpec]:
    """The columns to read of each example: the user's features, the item, and what else the loss needs."""
    features = [*model.user, ITEM_INDEX]
    if data.item_changes is not None or any(feature.is_day for feature in model.item):
        features.append(EPOCH_DAY)
    if loss.example_weights == "reward":
        features.append(FeatureSpec("weight", "numeric", 1, 1, "weight", None))
    if loss.negatives.mask != "item":
        features.append(USER_INDEX)
    if loss.negatives.row:
        features.append(FeatureSpec("unclicked", "item_list", 1, data.unclicked_length, "unclicked", "item_id"))
        features.append(FeatureSpec("outcome_final_at", "id", 1, 1, "outcome_final_at", None))
    return features


class TrainingInputs:
    """The pinned files of one run, verified, and this rank's part of their rows."""

    def __init__(
        self,
        data: DataSpec,
        model: ModelSpec,
        features: Sequence[FeatureSpec],
        *,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        """features: what is read of each example. Verifies all files first, and raises what `check_files` raises."""
        self.data, self.model, self.features = data, model, features
        self.seed, self.device, self.ranks = seed, device, ranks
        self.item_count = model.vocabulary_sizes["item_id"]
        examples = [feature.column for feature in features]
        if data.min_id_examples:
            examples += example_columns(model, data.first_recent_day)
        items = [feature.column for feature in model.item if not feature.is_id]
        shares = [data.share_column] if data.last_day is None else [data.share_column, LAST_DAY_SHARE]
        check = partial(check_files, share=data.verified_share, day=data.epoch_day)
        self.file_rows = {EXAMPLES: check(EXAMPLES, data.examples, examples)}
        check("item_snapshot", data.items, [ITEM_INDEX.column, AVAILABLE, *items])
        if data.item_changes is not None:
            check("item_changes", data.item_changes, [ITEM_INDEX.column, EPOCH_DAY.column, *items])
        check("item_sampling_probs", data.probabilities, [ITEM_INDEX.column, *shares, "u", "p"])
        if data.item_neighbours is not None:
            check("item_neighbours", data.item_neighbours, [ITEM_INDEX.column, "neighbours"])
        if data.last_day is not None:
            self.file_rows[LAST_DAY] = check(LAST_DAY, data.last_day, [*examples, USER_INDEX.column])

    def batches(self, table: str, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """This rank's batches of an epoch over EXAMPLES or LAST_DAY, on the device, without the first `skip` ones.

        Those of LAST_DAY also have the users of the rows, `user_index` [B]. Raises what `epoch_batches` raises, and
        ValueError for an item index beyond the vocabulary.
        """
        return on_device(self._read(table, epoch, skip), self.device)

    def validation_batches(self) -> Iterator[Batch]:
        """This rank's batches of the held-out day: at most `validation_rows` rows, rounded up to whole batches."""
        return islice(self.batches(LAST_DAY, 0), -(-self.data.validation_rows // self.data.batch_size))

    def last_pass_batches(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """This rank's batches of a training pass over LAST_DAY: without held-back rows, and the first `skip` ones.

        There is a batch for each of `batches`, so every rank has the same number of them, with at least one row each.
        """
        return on_device(map(self._trained_rows, self._read(LAST_DAY, epoch, skip)), self.device)

    def held_back_batches(self, epoch: int) -> Iterator[Batch]:
        """This rank's part of the rows that `last_pass_batches` of the same epoch leaves out.

        At most `validation_rows` rows of all ranks together, rounded up to whole batches.
        """
        return on_device(self._held_back_rows(epoch), self.device)

    def _read(self, table: str, epoch: int, skip: int) -> Iterator[Batch]:
        """The batches of `batches`, on the CPU."""
        pinned = self._pinned(table)
        features = list(self.features)
        if table == LAST_DAY and USER_INDEX not in features:
            features.append(USER_INDEX)
        shard = shards(pinned.files, self.file_rows[table], self.data.batch_size, self.ranks.size)[self.ranks.rank]
        batches = epoch_batches(
            shard,
            features,
            seed=self.seed + epoch,
            readers=self.data.readers,
            shuffle_row_groups=self.data.shuffle_row_groups,
        )
        return map(self._with_known_items, islice(batches, skip, None))

    def _trained_rows(self, batch: Batch) -> Batch:
        trained = ~self._held_back(batch)  # [B]
        return {feature.name: batch[feature.name][trained] for feature in self.features}

    def _held_back_rows(self, epoch: int) -> Iterator[Batch]:
        rows = 0
        for batch in self._read(LAST_DAY, epoch, 0):
            chosen = self._held_back(batch)  # [B]
            if chosen.any():
                yield {name: values[chosen] for name, values in batch.items()}
            rows += int(chosen.sum())
            if rows * self.ranks.size >= self.data.validation_rows:
                return

    def _held_back(self, batch: Batch) -> Tensor:
        return held_back(batch[USER_INDEX.name], self.data.held_back_share, self.data.epoch_day)  # [B]

    def _with_known_items(self, batch: Batch) -> Batch:
        indices = [batch[name] for name in ("item_index", "unclicked") if name in batch and len(batch[name])]
        largest = max((int(index.max()) for index in indices), default=0)
        if largest >= self.item_count:
            raise ValueError(f"item indices of the examples must be below {self.item_count}, got {largest}")
        return batch

    def sampling_probs(self, share_column: str) -> Probabilities:
        """q, u and p [I] of every item. share_column: the column with q of the training rows: q, q_before or q_last."""
        columns = (share_column, "u", "p")
        return Probabilities(*(self._item_column(self.data.probabilities, name) for name in columns))

    def row_counts(self, *, with_last_day: bool) -> Tensor:
        """How many training rows have each item, [I] float64: of EXAMPLES alone, or of LAST_DAY too."""
        counts = self._item_column(self.data.probabilities, self.data.share_column) * self.data.examples.rows
        if with_last_day and self.data.last_day is not None:
            counts += self._item_column(self.data.probabilities, LAST_DAY_SHARE) * self.data.last_day.rows
        return counts.round()

    def item_inputs(self) -> dict[str, Tensor]:
        """Each item feature, [I + C] or [I + C, L], on the device: by item index, then as it was before each change."""
        described = [feature for feature in self.model.item if not feature.is_id]
        table = item_table(self.data.items, described, self.item_count, self.data.item_changes)
        items = torch.cat([torch.arange(self.item_count), self.item_versions.items])
        ids = {feature.name: items for feature in self.model.item if feature.is_id}
        return {name: values.to(self.device) for name, values in {**table, **ids}.items()}

    @cached_property
    def live_indices(self) -> dict[str, Tensor]:
        """The indices that have a row in the embedding tables, [V] for each vocabulary in which not all have one."""
        data = self.data
        if not data.min_id_examples:
            return {}
        examples = [TrainedRows(data.examples)]
        if data.last_day is not None:
            examples.append(TrainedRows(data.last_day, data.held_back_share, data.epoch_day))
        return live_indices(
            examples, data.items, self.available_items, self.model, data.min_id_examples, data.first_recent_day
        )

    @cached_property
    def item_versions(self) -> ItemVersions:
        """The rows of `item_inputs` with the features of an item as of a day."""
        return item_versions(self.data.item_changes, self.item_count).to(self.device)

    @cached_property
    def available_items(self) -> Tensor:
        """The indices of the items that may be shown, ascending."""
        return self._item_column(self.data.items, AVAILABLE).nonzero()[:, 0]

    def _item_column(self, pinned: PinnedFiles, column: str) -> Tensor:
        return item_column(pinned, column, self.item_count).to(self.device)

    def _pinned(self, table: str) -> PinnedFiles:
        if table == EXAMPLES:
            return self.data.examples
        assert self.data.last_day is not None
        return self.data.last_day
