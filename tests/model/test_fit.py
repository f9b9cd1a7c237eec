"""A planted world small enough to train on in a second: 4 clusters of users, each with 20 of 80 items.

Axes: U users, I item indices, D embedding size, K list length.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model import fit as fitting
from model.features import UNKNOWN, FeatureSpec, ModelSpec
from model.fit import Order, fit, item_inputs, pick_device, standardise, step_loss
from model.loaders import PinnedFiles, RowCountMismatch
from model.towers import TwoTowers
from model.training import Progress, TrainingDiverged
from model.versions import WEIGHTS, load_model

USERS, ITEMS, CLUSTERS, CLICKS, HELD_OUT, D, K = 300, 80, 4, 12, 2, 16, 10
FIRST = 2  # the first index of a user or an item; item n is of cluster n % 4
GONE = FIRST + ITEMS  # an item that the vocabulary knows, and the snapshot does not
SIZE = GONE + 1
YOUNG = SIZE + 5  # an item that is younger than the model

SPEC = ModelSpec(
    user=(
        FeatureSpec("user_id", "id", D, 1, "user_index", "user_id"),
        FeatureSpec("history", "item_list", D, 3, "history", "item_id"),
        FeatureSpec("age", "numeric", 4, 1, "age", None),
    ),
    item=(
        FeatureSpec("item_id", "id", D, 1, "item_index", "item_id"),
        FeatureSpec("genres", "categorical", D, 2, "genres", "item.genres"),
        FeatureSpec("year", "numeric", 4, 1, "year", None),
    ),
    vocabulary_sizes={"user_id": FIRST + USERS, "item_id": SIZE, "item.genres": FIRST + CLUSTERS},
    embedding_dim=D,
    hidden=(),
)
SETTINGS: dict[str, Any] = {
    "temperature": 0.2,
    "batch_size": 128,
    "epochs": 6,
    "learning_rate": 0.1,
    "dense_learning_rate": 0.003,
    "weight_decay": 0.0,
    "seed": 1,
    "device": "cpu",
    "threads": 1,
    "readers": 1,
    "shuffle_row_groups": 4,
    "id_dropout": 0.2,
}


class World:
    """Clicks, the popular items of a cluster more often than the others; two of each user's are held out."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        share = 1.0 / np.arange(3, 3 + ITEMS // CLUSTERS)
        items = [
            user % CLUSTERS
            + CLUSTERS * generator.choice(ITEMS // CLUSTERS, CLICKS, replace=False, p=share / share.sum())
            for user in range(USERS)
        ]
        clicks = generator.permuted(np.stack(items), axis=1) + FIRST  # [U, CLICKS]
        self.trained, self.held_out = clicks[:, :-HELD_OUT], clicks[:, -HELD_OUT:]
        self.history = self.trained[:, :3]

    def examples(self) -> pa.Table:
        users, clicks = np.repeat(np.arange(USERS), CLICKS - HELD_OUT), self.trained.ravel()
        order = np.random.default_rng(1).permutation(len(users))
        users, clicks = users[order], clicks[order]
        return pa.table(
            {
                "user_index": pa.array(users + FIRST, pa.int32()),
                "history": pa.array(self.history[users].tolist(), pa.list_(pa.int32())),
                "age": pa.array([None if user % 7 == 0 else 20.0 + user % 50 for user in users], pa.float32()),
                "item_index": pa.array(clicks, pa.int32()),
            }
        )

    def items(self) -> pa.Table:
        indices = np.arange(FIRST, GONE)
        return pa.table(
            {
                "item_index": pa.array(indices, pa.int32()),
                "genres": pa.array([genres_of(index) for index in indices], pa.list_(pa.int32())),
                "year": pa.array(1980.0 + indices % 40, pa.float32()),
            }
        )

    def probabilities(self) -> pa.Table:
        indices, clicks = np.unique(self.trained, return_counts=True)
        uniform, empty = np.full(len(indices), 1 / len(indices)), np.zeros(len(indices))
        q = clicks / clicks.sum()
        return pa.table({"item_index": pa.array(indices, pa.int32()), "q": q, "u": uniform, "p": empty})


def genres_of(index: int) -> list[int]:
    return [FIRST + (index - FIRST) % CLUSTERS, 0]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def values(world: World, tmp_path: Path) -> dict[str, Any]:
    """An order as the job writes it."""
    pinned = {}
    for name in ("examples", "items", "probabilities"):
        table = getattr(world, name)()
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=250)
        pinned[name] = {"files": [(tmp_path / f"{name}.parquet").as_uri()], "rows": table.num_rows}
    return {
        "model_version": "v1",
        "folder": str(tmp_path / "model"),
        "spec": SPEC.to_json(),
        "settings": SETTINGS,
        "negatives": {"correction": "logq"},
        **pinned,
        "numeric_stats": {"user": {"age": [[44.0], [14.0]]}, "item": {"year": [[2000.0], [11.0]]}},
        "inputs": {"ds": "2026-03-01"},
        "configuration": {"model": {"embedding_dim": D}},
    }


def order(values: dict[str, Any], folder: str = "model", correction: str = "logq", **settings: Any) -> Order:
    """The order, read back from JSON, with another folder and other settings."""
    there = str(Path(values["folder"]).with_name(folder))
    changed = {
        "folder": there,
        "settings": SETTINGS | settings,
        "negatives": values["negatives"] | {"correction": correction},
    }
    return Order.from_json(json.loads(json.dumps({**values, **changed})))


def vectors(towers: TwoTowers, world: World) -> tuple[torch.Tensor, torch.Tensor]:
    """All users [U, D] and the items of the snapshot [I, D]."""
    users = {
        "user_id": torch.arange(FIRST, FIRST + USERS),
        "history": torch.from_numpy(world.history),
        "age": torch.full((USERS,), math.nan),
    }
    indices = torch.arange(FIRST, GONE)
    genres = torch.tensor([genres_of(int(index)) for index in indices])
    items = {"item_id": indices, "genres": genres, "year": torch.full((ITEMS,), math.nan)}
    with torch.no_grad():
        return towers.user(users), towers.item(items)


def recall(scores: torch.Tensor, world: World) -> float:
    """Share of the held-out clicks among each user's K best items that were not trained on; scores [U, I]."""
    scores = scores.clone().scatter(1, torch.from_numpy(world.trained - FIRST), -torch.inf)
    best = scores.topk(K, dim=1).indices + FIRST  # [U, K]
    return float((best[:, :, None] == torch.from_numpy(world.held_out)[:, None, :]).any(dim=1).float().mean())


def recall_of_popularity(world: World) -> float:
    clicks = torch.bincount(torch.from_numpy(world.trained.ravel() - FIRST), minlength=ITEMS)  # [I]
    return recall(clicks.float().expand(USERS, -1), world)


@pytest.mark.parametrize("correction", ["none", "logq", "logq_negatives"])
def test_the_towers_find_the_clusters(values: dict[str, Any], world: World, correction: str) -> None:
    fit(order(values, correction=correction))
    users, items = vectors(load_model(Path(values["folder"]), "v1")[0], world)
    found, popular = recall(users @ items.T, world), recall_of_popularity(world)
    assert popular < 0.4
    assert found > popular + 0.3


@pytest.mark.parametrize(
    "negatives",
    [
        {"correction": "logq_negatives", "corpus": 64},
        {"correction": "logq", "bank": 512, "bank_warmup_steps": 5},
        {"correction": "logq_negatives", "corpus": 64, "bank": 512, "bank_holds": "all"},
    ],
    ids=["mns", "cbns", "mixed_cross_batch"],
)
def test_the_other_presets_find_them_too(values: dict[str, Any], world: World, negatives: dict[str, Any]) -> None:
    fit(Order.from_json(values | {"negatives": negatives}))
    towers, _ = load_model(Path(values["folder"]))
    users, items = vectors(towers, world)
    assert recall(users @ items.T, world) > 2 * recall_of_popularity(world)


def test_untrained_towers_do_not_find_them(world: World) -> None:
    torch.manual_seed(0)
    users, items = vectors(TwoTowers(SPEC), world)
    assert recall(users @ items.T, world) < recall_of_popularity(world)


def test_the_correction_gives_popular_items_their_due(values: dict[str, Any], world: World) -> None:
    """Uncorrected in-batch softmax learns ln P(item | user) - ln q(item): the popular ones are pushed down."""
    found = {}
    for correction in ("none", "logq"):
        fit(order(values, correction, correction=correction))
        users, items = vectors(load_model(Path(values["folder"]).with_name(correction))[0], world)
        own = torch.arange(USERS)[:, None] % CLUSTERS == torch.arange(ITEMS) % CLUSTERS  # [U, I]
        clicks = torch.bincount(torch.from_numpy(world.trained.ravel() - FIRST), minlength=ITEMS).float()
        scores = (users @ items.T)[own]
        found[correction] = float(torch.corrcoef(torch.stack([scores, clicks.log().expand(USERS, -1)[own]]))[0, 1])
    assert found["logq"] > found["none"] + 0.3


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.2, True)])
def test_dropping_ids_trains_the_unknown_user_and_the_unknown_item(
    values: dict[str, Any], share: float, moves: bool
) -> None:
    fit(order(values, id_dropout=share, epochs=1))
    trained, _ = load_model(Path(values["folder"]))
    torch.manual_seed(SETTINGS["seed"])
    untrained = TwoTowers(SPEC)
    for side, name in (("user", "user_id"), ("item", "item_id")):
        before, after = (
            getattr(towers, side).embedding(name).get_parameter("table.weight")[UNKNOWN]
            for towers in (untrained, trained)
        )
        assert torch.equal(before, after) != moves, side


def weights(values: dict[str, Any], folder: str) -> bytes:
    return Path(values["folder"]).with_name(folder).joinpath(WEIGHTS).read_bytes()


def test_one_seed_gives_one_model_to_the_bit(values: dict[str, Any]) -> None:
    for folder, seed in (("one", 1), ("same", 1), ("other", 2)):
        torch.rand(3)  # whatever the process drew before must not matter
        fit(order(values, folder, seed=seed, epochs=2))
    assert weights(values, "one") == weights(values, "same")
    assert weights(values, "one") != weights(values, "other")


KILLED = """
import json, os, signal, sys
from model import fit, versions
die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "save":
    versions._flush = die
fit.fit(fit.Order.from_json(json.load(open(sys.argv[1]))), die if sys.argv[2] == "step" else lambda progress: None)
"""


@pytest.mark.parametrize("where", ["step", "save"])
def test_a_killed_training_leaves_no_model_and_the_next_one_is_as_if_undisturbed(
    values: dict[str, Any], tmp_path: Path, where: str
) -> None:
    values["settings"] = SETTINGS | {"epochs": 1}
    (tmp_path / "order.json").write_text(json.dumps(values))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "order.json"), where], check=False)
    assert killed.returncode == -9
    assert not Path(values["folder"]).exists()
    for folder in ("model", "undisturbed"):
        fit(order(values, folder, epochs=1))
    assert weights(values, "model") == weights(values, "undisturbed")


def test_the_manifest_says_what_was_trained(values: dict[str, Any]) -> None:
    seen: list[int] = []
    made = fit(order(values, epochs=2), lambda progress: seen.append(progress.step))
    _, version = load_model(Path(values["folder"]), "v1")
    assert version == made
    assert (version.name, version.spec, version.inputs) == ("v1", SPEC, {"ds": "2026-03-01"})
    rows = values["examples"]["rows"]
    assert version.metrics["training_rows"] == rows
    assert version.metrics["steps"] == len(seen) == 2 * math.ceil(rows / 128)
    assert 0 < version.metrics["waiting_share"] < 1
    assert version.metrics["final_loss"] < math.log(128)


@pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (5, 0)])
def test_another_epoch_or_seed_has_another_order(values: dict[str, Any], seed: int, epoch: int) -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        return torch.cat([rows["item_index"] for rows in fitting._epoch(order(values, seed=seed), epoch)]).tolist()

    assert drawn(1, 0) == drawn(1, 0)
    assert sorted(drawn(seed, epoch)) == sorted(drawn(1, 0))
    assert drawn(seed, epoch) != drawn(1, 0)


def without(table: pa.Table, index: int) -> pa.Table:
    return table.filter(pa.array(table["item_index"].to_numpy() != index))


def put(values: dict[str, Any], name: str, table: pa.Table) -> None:
    """Other rows for one of the pinned tables."""
    path = Path(values["folder"]).with_name(f"{name}.parquet")
    pq.write_table(table, path, row_group_size=250)
    values[name] = {"files": [path.as_uri()], "rows": table.num_rows}


@pytest.mark.parametrize("correction", ["none", "logq"])
def test_a_trained_item_without_a_probability_is_named(values: dict[str, Any], world: World, correction: str) -> None:
    put(values, "probabilities", without(world.probabilities(), 5))
    with pytest.raises(ValueError, match=r"at item id 5$"):
        fit(order(values, correction=correction))
    assert not Path(values["folder"]).exists()


def test_an_example_of_an_item_beyond_the_vocabulary_is_named(values: dict[str, Any], world: World) -> None:
    table = world.examples()
    indices = table["item_index"].to_numpy().copy()
    indices[100] = SIZE
    put(values, "examples", table.set_column(3, "item_index", pa.array(indices)))
    with pytest.raises(ValueError, match=f"item index {SIZE}, and the item vocabulary ends before {SIZE}"):
        fit(order(values))


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_row_count_stops_before_the_first_step(values: dict[str, Any], wrong: int) -> None:
    values["examples"]["rows"] += wrong
    steps: list[Progress] = []
    with pytest.raises(RowCountMismatch):
        fit(order(values), steps.append)
    assert not steps
    assert not Path(values["folder"]).exists()


def test_a_loader_that_loses_rows_leaves_no_model(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "check_rows", lambda pinned: None)
    values["examples"]["rows"] += 1
    with pytest.raises(RowCountMismatch, match="an epoch read"):
        fit(order(values))
    assert not Path(values["folder"]).exists()


def test_weights_that_are_not_finite_are_not_saved(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite loss may have a gradient that is not, and after the last step no loss would tell."""

    def spoilt(towers: TwoTowers, *args: Any) -> Any:
        return lambda batch: (towers.dense()[0].sum() * 0.0).sqrt()  # 0, with an infinite slope

    monkeypatch.setattr(fitting, "step_loss", spoilt)
    one_step = order(values, epochs=1, batch_size=10_000, shuffle_row_groups=100)
    with pytest.raises(TrainingDiverged, match="the last step left weights"):
        fit(one_step)
    assert not Path(values["folder"]).exists()


def test_a_batch_of_one_row_has_no_negatives_and_no_loss(values: dict[str, Any]) -> None:
    torch.manual_seed(0)
    towers = TwoTowers(SPEC)
    loss_of = step_loss(towers, order(values), torch.device("cpu"))
    one = {"user_id": [2], "history": [[3, 4, 0]], "age": [30.0], "item_index": [3]}
    assert float(loss_of({name: torch.tensor(value) for name, value in one.items()}).detach()) == 0


def test_the_loss_is_the_corrected_softmax_over_the_batch(values: dict[str, Any], world: World) -> None:
    torch.manual_seed(0)
    towers = TwoTowers(SPEC)
    rows = world.examples().slice(0, 4)
    batch = {
        "user_id": torch.tensor(rows["user_index"].to_pylist()),
        "history": torch.tensor(rows["history"].to_pylist()),
        "age": torch.tensor([20.0, math.nan, 40.0, 50.0]),
        "item_index": torch.tensor([2, 3, 4, 5]),
    }
    made = order(values, id_dropout=0.0, correction="logq_negatives")
    inputs = item_inputs(made, SIZE, torch.device("cpu"))
    scores = towers.user(batch) @ towers.item({name: table[2:6] for name, table in inputs.items()}).T / 0.2  # [4, 4]
    columns = world.probabilities().to_pydict()
    q = dict(zip(columns["item_index"], columns["q"], strict=True))
    log_count = torch.tensor([math.log(3 * q[item]) for item in (2, 3, 4, 5)])
    logits = torch.where(torch.eye(4, dtype=torch.bool), scores, scores - log_count)
    want = torch.nn.functional.cross_entropy(logits, torch.arange(4))
    torch.testing.assert_close(step_loss(towers, made, torch.device("cpu"))(batch), want)


def test_an_item_that_is_younger_than_the_model_gets_a_vector_from_its_features(
    values: dict[str, Any], world: World
) -> None:
    fit(order(values))
    towers, _ = load_model(Path(values["folder"]))
    users, _ = vectors(towers, world)
    young = {"item_id": torch.full((CLUSTERS,), YOUNG), "year": torch.full((CLUSTERS,), 2026.0)}
    genres = torch.tensor([[FIRST + cluster, 0] for cluster in range(CLUSTERS)])
    with torch.no_grad():
        items = towers.item({**young, "genres": genres})  # [CLUSTERS, D], one of each cluster
    torch.testing.assert_close(items.norm(dim=1), torch.ones(CLUSTERS))
    nearest = (users @ items.T).argmax(dim=1)  # [U]
    assert (nearest == torch.arange(USERS) % CLUSTERS).float().mean() > 0.9


def test_item_features_are_those_of_the_snapshot(values: dict[str, Any]) -> None:
    inputs = item_inputs(order(values), SIZE, torch.device("cpu"))
    assert inputs["item_id"].tolist() == list(range(SIZE))
    assert inputs["genres"][FIRST : FIRST + 2].tolist() == [genres_of(FIRST), genres_of(FIRST + 1)]
    assert inputs["genres"][GONE].tolist() == [0, 0]
    assert inputs["year"][[FIRST, GONE]].isnan().tolist() == [False, True]


def test_numbers_are_standardised_by_the_order() -> None:
    towers = TwoTowers(SPEC)
    standardise(towers, {"user": {"age": ([44.0], [14.0])}, "item": {"year": ([2000.0], [11.0])}})
    got = [
        tower.embedding(name).get_buffer(buffer).tolist()
        for tower, name in ((towers.user, "age"), (towers.item, "year"))
        for buffer in ("mean", "std")
    ]
    assert got == [[44.0], [14.0], [2000.0], [11.0]]


@pytest.mark.parametrize(
    "stats",
    [
        pytest.param({}, id="none"),
        pytest.param({"age": ([1.0, 2.0], [1.0, 2.0])}, id="too many"),
        pytest.param({"age": ([math.inf], [1.0])}, id="an infinite mean"),
        pytest.param({"age": ([1.0], [math.nan])}, id="no deviation"),
        pytest.param({"age": ([1.0], [0.0])}, id="a deviation of 0"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(stats: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="user feature age wants 1 means and deviations, got"):
        standardise(TwoTowers(SPEC), {"user": stats, "item": {"year": ([2000.0], [11.0])}})


@pytest.mark.parametrize(
    ("name", "gpu", "want"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch, name: str, gpu: bool, want: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert pick_device(name).type == want


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no GPU here: use auto or cpu"):
        fit(order(values, device="cuda"))


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ValueError, match="is auto, cpu or cuda, got 'gpu'"):
        pick_device("gpu")


def run_main(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    file = Path(values["folder"]).with_name("order.json")
    file.write_text(json.dumps({**values, "settings": SETTINGS | {"epochs": 1}}))
    monkeypatch.setattr(sys, "argv", ["fit", str(file)])
    return fitting.main()


def test_the_command_trains_what_its_file_orders(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(values, monkeypatch) == 0
    assert "24 steps, loss" in capsys.readouterr().out
    load_model(Path(values["folder"]), "v1")


def test_the_command_says_what_is_wrong_and_ends_with_2(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(Path(values["folder"]).with_name("missing.parquet"))
    values["examples"]["files"] = [f"file://{missing}"]
    assert run_main(values, monkeypatch) == 2
    assert "error: FileNotFoundError" in (text := capsys.readouterr().err)
    assert missing in text


def test_an_order_survives_json(values: dict[str, Any]) -> None:
    made = order(values)
    assert (made.spec, made.folder) == (SPEC, Path(values["folder"]))
    assert made.items == PinnedFiles(tuple(values["items"]["files"]), ITEMS)
    assert replace(made.settings, epochs=7) == order(values, epochs=7).settings
