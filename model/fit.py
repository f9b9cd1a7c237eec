"""Where the parts meet: `python -m model.fit ORDER.json` trains one model version and writes its folder.

An order is what the job found in the lake: pinned files, specification and settings. The process is the trainer's own,
so that it may live on another machine, with a GPU, and without Spark.

Axis letters: B rows, D embedding size, I indices of the item vocabulary.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  # is loaded before torch
import torch
from torch import Tensor

from model.features import PADDING, FeatureSpec
from model.frequency import StreamingFrequency
from model.loaders import RowCountMismatch, epoch_batches, item_column, item_table
from model.objective import Objective
from model.optim import RowWiseAdagrad
from model.order import PROBABILITIES, Order, example_features, pinned_inputs
from model.pinned_files import check_files
from model.progress import progress_bar
from model.sources import Probabilities
from model.towers import TwoTowers, drop_ids
from model.training import Batch, Progress, TrainingDiverged, train
from model.versions import ModelVersion, save_model


def fit(
    order: Order,
    watch: Callable[[Progress], None] = lambda progress: None,
    after_epoch: Callable[[Progress, TwoTowers], None] = lambda progress, towers: None,
) -> ModelVersion:
    """Train and write the model version.

    See `model.pinned_files`, `model.loaders` and `model.training.train` for what is raised.
    """
    settings = order.settings
    torch.manual_seed(settings.seed)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    for table, (pinned, columns) in pinned_inputs(order).items():
        check_files(table, pinned, columns)  # each epoch counts again what it read
    towers = TwoTowers(order.spec)
    standardise(towers, order.numeric_stats)
    towers.to(device)
    objective = make_objective(order, device)
    optimizers = [
        RowWiseAdagrad(towers.tables(), lr=settings.learning_rate),
        torch.optim.AdamW(
            [
                {"params": towers.dense(), "weight_decay": settings.weight_decay},
                {"params": objective.parameters(), "weight_decay": 0.0},
            ],
            lr=settings.dense_learning_rate,
        ),
    ]
    last = train(
        step_loss(towers, order, objective, device),
        lambda epoch: _epoch(order, epoch),
        optimizers,
        settings.epochs,
        watch,
        lambda progress: after_epoch(progress, towers),
    )
    if not all(bool(weights.isfinite().all()) for weights in towers.parameters()):
        raise TrainingDiverged("the last step left weights that are NaN or infinite")
    metrics = {
        "final_loss": last.loss,
        "training_rows": order.examples.rows,
        "steps": last.step,
        "seconds": last.seconds,
        "rows_per_second": last.rows_per_second,
        "waiting_share": last.waiting / max(last.seconds, 1e-9),
        **objective.report(),
    }
    version = ModelVersion(order.model_version, order.spec, dict(order.inputs), dict(order.configuration), metrics)
    save_model(order.folder, towers.cpu(), version)
    return version


def make_objective(order: Order, device: torch.device) -> Objective:
    """The order's loss with its sources of negatives."""
    size, settings = order.spec.vocabulary_sizes["item_id"], order.settings
    estimator = None
    if settings.frequency == "streaming":
        estimator = StreamingFrequency(
            settings.estimator_buckets or size,
            hashes=settings.estimator_hashes,
            alpha=settings.estimator_rate,
            device=device,
        )
    return Objective(
        Probabilities(*(item_column(order.probabilities, name, size).to(device) for name in PROBABILITIES)),
        order.negatives,
        temperature=settings.temperature,
        batch_size=settings.batch_size,
        dim=order.spec.embedding_dim,
        seed=settings.seed,
        learn_temperature=settings.learn_temperature,
        estimator=estimator,
        device=device,
    )


def step_loss(towers: TwoTowers, order: Order, objective: Objective, device: torch.device) -> Callable[[Batch], Tensor]:
    """The loss of a batch: both towers on its rows, and the order's sources of negatives beside them."""
    size, settings = order.spec.vocabulary_sizes["item_id"], order.settings
    features = item_inputs(order, size, device)
    generator = torch.Generator().manual_seed(settings.seed + 2)  # the objective has those before it

    def embed(indices: Tensor) -> Tensor:
        inputs = {name: values[indices] for name, values in features.items()}
        dropped = with_dropped_ids(inputs, order.spec.item, settings.item_id_dropout, 0.0, generator)
        return towers.item(dropped)  # [N, D]

    def loss_of(batch: Batch) -> Tensor:
        indices = [batch[name] for name in ("item_index", "unclicked") if name in batch]
        if (last := max(int(index.max()) for index in indices)) >= size:
            raise ValueError(f"the examples hold item index {last}, and the item vocabulary ends before {size}")
        batch = {name: values.to(device, non_blocking=True) for name, values in batch.items()}
        shares = (settings.user_id_dropout, settings.history_dropout)
        users = with_dropped_ids(batch, order.spec.user, *shares, generator)
        return objective(
            towers.user(users),
            batch["item_index"],
            embed,
            history=batch.get("history"),
            users=batch.get("user_index"),
            own=own_negatives(batch, order),
            weights=batch.get("weight"),
        )

    return loss_of


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


def _epoch(order: Order, epoch: int) -> Iterator[Batch]:
    settings = order.settings
    return epoch_batches(
        order.examples,
        example_features(order),
        batch_size=settings.batch_size,
        seed=settings.seed + epoch,
        readers=settings.readers,
        shuffle_row_groups=settings.shuffle_row_groups,
    )


def standardise(towers: TwoTowers, stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Give each numeric feature the mean and deviation that the training rows have.

    Raises ValueError unless each has as many as it has numbers, finite, and deviations above 0.
    """
    for side, tower in (("user", towers.user), ("item", towers.item)):
        for feature in tower.features:
            if feature.holds_numbers:
                mean, std = (torch.tensor(numbers) for numbers in stats[side].get(feature.name, ([], [])))  # [L] each
                fits = mean.shape == std.shape == (feature.length,)
                if not fits or not bool((mean.isfinite() & std.isfinite() & (std > 0)).all()):
                    got = f"{mean.tolist()} and {std.tolist()}"
                    raise ValueError(
                        f"{side} feature {feature.name} wants {feature.length} means and deviations, got {got}"
                    )
                tower.embedding(feature.name).get_buffer("mean").copy_(mean)
                tower.embedding(feature.name).get_buffer("std").copy_(std)


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises ValueError where cuda is asked for and missing."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"training.device is auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device is cuda, and torch sees no GPU here: use auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("order", type=Path, help="JSON file written by jobs.train_two_tower")
    order = Order.from_json(json.loads(parser.parse_args().order.read_text("utf-8")))
    try:
        with progress_bar(order.examples.rows * order.settings.epochs) as watch:
            fit(order, watch)
    except (ValueError, OSError, TrainingDiverged, RowCountMismatch) as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
