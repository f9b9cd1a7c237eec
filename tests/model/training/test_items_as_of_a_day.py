"""Examples describe items as they were known on their day: a planted feature that tells the future, and how it is read.

Axes: N examples of a day, I item indices, C changes of items.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.features import FeatureSpec, ModelSpec
from model.training.fit import fit, open_inputs
from model.training.inputs import EXAMPLES
from model.training.learner import Learner
from model.training.spec import TrainingSpec
from model.training.step_loss import repeated
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import CPU, SETTINGS, changed, learner_of

USERS, CLUSTERS, OWN, HOT, FILLER = 400, 10, 60, 5, 3000  # OWN: items of a cluster; HOT: items of a day
DAYS, ROWS, HOT_SHARE, DIM = 10, 1000, 0.25, 16  # ROWS: examples of a day; the last day is held out
FIRST_DAY = 20_000  # since 1970-01-01
SIZE = FIRST_INDEX + CLUSTERS * OWN + DAYS * HOT + FILLER
USER = (FeatureSpec("user_id", "id", DIM, 1, "user_index", "user_id"),)
ITEM_ID = FeatureSpec("item_id", "id", DIM, 1, "item_index", "item_id")
CLUSTER = FeatureSpec("cluster", "categorical", DIM, 1, "cluster", "item.cluster")
CLICKS = FeatureSpec("clicks_to_date", "numeric", 4, 1, "clicks_to_date", None)


class PlantedWorld:
    """A user clicks items of the own cluster; one click of four is on items that are clicked on a single day.

    Nothing that is known before a day says which items these are. The number of clicks to date does, at its end.
    """

    def __init__(self) -> None:
        random = np.random.default_rng(3)
        users = random.integers(0, USERS, (DAYS, ROWS))
        own = users % CLUSTERS * OWN + random.integers(0, OWN, (DAYS, ROWS))
        hot = CLUSTERS * OWN + np.arange(DAYS)[:, None] * HOT + random.integers(0, HOT, (DAYS, ROWS))
        self.users = users + FIRST_INDEX  # [DAYS, N]
        self.clicked = np.where(random.random((DAYS, ROWS)) < HOT_SHARE, hot, own) + FIRST_INDEX  # [DAYS, N]
        daily = np.stack([np.bincount(row, minlength=SIZE) for row in self.clicked])  # [DAYS, I]
        self.to_date = np.log1p(daily.cumsum(axis=0)).astype(np.float32)  # [DAYS, I], at the end of a day

    def examples(self, first: int, last: int) -> pa.Table:
        days = np.repeat(np.arange(first, last) + FIRST_DAY, ROWS)
        columns = {"user_index": self.users[first:last].ravel(), "item_index": self.clicked[first:last].ravel()}
        return pa.table({name: pa.array(values, pa.int32()) for name, values in {**columns, "epoch_day": days}.items()})

    def items(self) -> pa.Table:
        indices = np.arange(FIRST_INDEX, SIZE)
        columns = {"item_index": pa.array(indices, pa.int32()), "cluster": clusters_of(indices)}
        return pa.table(columns | {"clicks_to_date": self.to_date[-1][indices], "available": [True] * len(indices)})

    def changes(self) -> pa.Table:
        """Each item on each day on which its clicks to date changed, with those before."""
        day, item = np.nonzero(self.to_date[1:] != self.to_date[:-1])
        columns = {"item_index": item, "epoch_day": day + 1 + FIRST_DAY}
        rows = {name: pa.array(values, pa.int32()) for name, values in columns.items()}
        return pa.table({**rows, "cluster": clusters_of(item), "clicks_to_date": self.to_date[day, item]})

    def probabilities(self) -> pa.Table:
        indices = np.arange(FIRST_INDEX, SIZE)
        q, q_last = (
            np.bincount(part.ravel(), minlength=SIZE)[indices] / part.size
            for part in (self.clicked[:-1], self.clicked[-1:])
        )
        columns = {"q": q, "q_before": q, "q_last": q_last, "u": np.full(len(indices), 1 / len(indices)), "p": q * 0}
        return pa.table({"item_index": pa.array(indices, pa.int32()), **columns})


def clusters_of(indices: np.ndarray) -> pa.Array:
    """The encoded cluster of items; all that have none share one index."""
    return pa.array(np.minimum((indices - FIRST_INDEX) // OWN, CLUSTERS) + FIRST_INDEX, pa.int32())


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A training spec in JSON for the planted world, whose items are described as of each day."""
    folder, world, pinned = tmp_path_factory.mktemp("planted"), PlantedWorld(), {}
    written = {"examples": world.examples(0, DAYS - 1), "last_day": world.examples(DAYS - 1, DAYS)}
    for name in ("items", "probabilities"):
        written[name] = getattr(world, name)()
    written["item_changes"] = world.changes()
    for name, table in written.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=1000)
        pinned[name] = {"version": 0, "files": [(folder / f"{name}.parquet").as_uri()], "rows": table.num_rows}
    counts = world.to_date[-1][FIRST_INDEX:]
    return changed(
        {"data": {}, "loss": {}, "run": {}},
        **{**SETTINGS, "epochs": 3},
        **pinned,
        model_version="planted",
        folder=str(folder / "model"),
        checkpoints=str(folder / "checkpoints"),
        model=model((CLUSTER, CLICKS)).to_json(),
        negatives={"correction": "logq_negatives", "corpus": 256},
        hide_history=True,
        warm_start=None,
        numeric_stats={"user": {}, "item": {"clicks_to_date": [[float(counts.mean())], [float(counts.std())]]}},
        unclicked_length=0,
        final_before=0,
        inputs={},
        configuration={},
        epoch_day=FIRST_DAY + DAYS - 1,
    )


def model(item: tuple[FeatureSpec, ...]) -> ModelSpec:
    sizes = {"user_id": FIRST_INDEX + USERS, "item_id": SIZE, "item.cluster": FIRST_INDEX + CLUSTERS + 1}
    return ModelSpec(USER, item, sizes, DIM, ())


def recall(planted: dict[str, Any], seed: int, **changes: Any) -> float:
    """Recall@100 on the held-out day."""
    found = fit(spec(planted, seed=seed, **changes)).metrics["validation"]
    assert found["rows"] == ROWS
    return float(found["recall@100"])


def spec(planted: dict[str, Any], **changes: Any) -> TrainingSpec:
    return TrainingSpec.from_json(json.loads(json.dumps(changed(planted, **changes))))


def described(learner: Learner, work: Callable[[], object]) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids [N] and clicks to date [N] of the items that the item tower embeds first while `work` runs."""
    seen: list[dict[str, torch.Tensor]] = []
    handle = learner.towers.item.register_forward_pre_hook(lambda tower, inputs: seen.append(inputs[0]))
    work()
    handle.remove()
    return seen[0]["item_id"], seen[0]["clicks_to_date"]


def test_each_item_of_a_step_is_described_as_of_a_day_of_the_batch(planted: dict[str, Any]) -> None:
    world, days = PlantedWorld(), torch.tensor([3, 8, 1])
    batch = {
        "user_id": torch.tensor([2, 3, 4]),
        "item_index": torch.from_numpy(np.array([world.clicked[day, 0] for day in days])),
        "epoch_day": days + FIRST_DAY,
        "unclicked": torch.tensor([[2, 70], [3, 0], [2, 650]]),
        "outcome_final_at": torch.tensor([0, 0, 0]),
    }
    negatives = {"correction": "logq", "corpus": 40, "row": 2}
    with_ids = model((ITEM_ID, CLICKS)).to_json()
    learner = learner_of(spec(planted, model=with_ids, negatives=negatives, final_before=1, item_id_dropout=0.0))
    items, clicks = described(learner, lambda: learner.loss(batch))
    assert items[:3].tolist() == batch["item_index"].tolist()
    assert set(items[-5:].tolist()) == {0, 2, 3, 70, 650}  # the rows' own negatives, and the padding
    known = np.stack([world.to_date[day - 1] for day in days.repeat(100)[: len(items)]])  # [N, I]
    known[:, :FIRST_INDEX] = np.nan
    np.testing.assert_array_equal(clicks.numpy(), known[np.arange(len(items)), items])


def test_the_catalogue_is_validated_as_of_the_held_out_day(planted: dict[str, Any]) -> None:
    items = torch.arange(FIRST_INDEX, SIZE)
    learner = learner_of(spec(planted, model=model((ITEM_ID, CLICKS)).to_json()))
    _, clicks = described(learner, lambda: learner.item_vectors(items))
    np.testing.assert_array_equal(clicks.numpy(), PlantedWorld().to_date[-2][items][: len(clicks)])


def test_a_rank_without_rows_embeds_its_share_of_the_draws_as_first_known() -> None:
    assert repeated(torch.tensor([7, 9]), 5).tolist() == [7, 9, 7, 9, 7]
    assert repeated(torch.tensor([], dtype=torch.int64), 2).tolist() == [0, 0]


def test_the_day_of_an_example_is_read_only_if_an_item_has_changed(planted: dict[str, Any]) -> None:
    batches = {
        name: next(open_inputs(spec(planted, **changes), CPU).batches(EXAMPLES, 0))
        for name, changes in {"changed": {}, "unchanged": {"item_changes": None}}.items()
    }
    assert set(batches["changed"]) == {"user_id", "item_index", "epoch_day"}
    assert set(batches["unchanged"]) == {"user_id", "item_index"}


def test_a_feature_that_counts_clicks_to_date_tells_nothing_of_the_held_out_day(planted: dict[str, Any]) -> None:
    """Described by the newest snapshot alone, it does: the validation reports clicks that nobody could predict."""
    without = recall(planted, 1, model=model((CLUSTER,)).to_json(), item_changes=None)
    leaking = recall(planted, 1, item_changes=None)
    as_of_the_day = recall(planted, 1)
    print(f"recall@100: {without:.4f} without the feature, {leaking:.4f} leaking, {as_of_the_day:.4f} as of the day")
    assert leaking > 1.1 * without
    assert 0.97 * without < as_of_the_day < 1.01 * without
