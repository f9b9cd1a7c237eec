"""A publication with 1,000 users, whose vectors `build_user_embeddings` made, and the users as a service knows them.

The model has random weights. Its users have a feature of every kind, with missing and unknown values.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from pyspark.sql import functions as F

from jobs import build_user_embeddings
from jobs.config.loading import Config, load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.encoding import encode
from jobs.serving.publications import last_publication
from jobs.serving.publishing import add_publication
from jobs.training.model_spec import model_spec
from model.artifacts.model_version import ModelVersion, save_model
from model.towers import TwoTowers
from model.towers.online import User
from model.vocabulary import FIRST_INDEX
from tests.conftest import SMALL

DAY = dt.date(2026, 3, 1)
END = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
AT = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)
USERS, ITEMS, LENGTH = 1_000, 60, 5
USER_IDS = [f"user {number}" for number in range(USERS)]
ITEM_IDS = [f"i{number}" for number in range(ITEMS)]
GENDERS, TAGS = ["f", "m", "ß"], ["a", "b", "c", "d"]
FEATURES = """
[model]
user_encoder = "{encoder}"
interests = {interests}
[[features.user]]
name = "user_id"
kind = "id"
dim = 64
[[features.user]]
name = "history"
kind = "item_list"
length = 5
dim = 64
gaps = {gaps}
[[features.user]]
name = "wishlist"
kind = "item_list"
length = 3
dim = 64
[[features.user]]
name = "age"
kind = "numeric"
dim = 8
[[features.user]]
name = "taste"
kind = "vector"
length = 2
dim = 8
[[features.user]]
name = "gender"
kind = "categorical"
dim = 8
[[features.user]]
name = "tags"
kind = "categorical"
length = 2
dim = 8
[[features.item]]
name = "item_id"
kind = "id"
dim = 64
"""
HASHED = 'kind = "hashed_id"\nbuckets = 300\nhashes = 2'


@dataclass(frozen=True)
class Embedded:
    """The lake, the file with its configuration, and the users by id."""

    lake: Lake
    config_file: str
    users: dict[str, User]


def write_embedded(
    lake: Lake, folder: Path, encoder: str, interests: int, *, live_rows: bool = False, hashed: bool = False
) -> Embedded:
    """Write and publish the day; live_rows: whether only some ids have a row in the model's tables; hashed: user ids.

    The history has gaps for the encoder `attention`.
    """
    folder.mkdir(exist_ok=True)
    file = folder / "features.toml"
    text = FEATURES.format(encoder=encoder, interests=interests, gaps=str(encoder == "attention").lower())
    file.write_text(text.replace('kind = "id"', HASHED, 1) if hashed else text, "utf-8")
    config = load_config(SMALL, str(file))
    users = {user_id: a_user(user_id, random.Random(number)) for number, user_id in enumerate(USER_IDS)}
    write_vocabularies(lake)
    write_users(lake, config, users)
    put_model(lake, config, "model1", live_rows)
    build_user_embeddings.main(["--lake", lake.uri, "--ds", str(DAY), "--config", SMALL, "--config", str(file)])
    put_items(lake, "model1")
    publish(lake, "model1")
    return Embedded(lake, str(file), users)


def a_user(user_id: str, chance: random.Random) -> User:
    features = {
        "wishlist": chance.choice([None, [], chance.choices([*ITEM_IDS, "never seen"], k=chance.randint(1, 5))]),
        "age": chance.choice([None, math.nan, math.inf, 1e300, chance.uniform(1, 90)]),
        "taste": chance.choice([None, [1.0], [0.5, None], [chance.random(), -chance.random()]]),
        "gender": chance.choice([None, "never seen", *GENDERS]),
        "tags": chance.choice([None, [], chance.choices([*TAGS, "never seen"], k=chance.randint(1, 4))]),
    }
    history = chance.choices(ITEM_IDS, k=chance.choice([0, 1, 3, LENGTH]))
    ages = [chance.choice([None, -5, 10 ** chance.uniform(0, 9)]) for _ in history]  # seconds; one is after the day
    return User(user_id, history, features, [None if age is None else END - dt.timedelta(seconds=age) for age in ages])


def write_vocabularies(lake: Lake) -> None:
    values = {"user_id": USER_IDS, "item_id": ITEM_IDS, "user.gender": GENDERS, "user.tags": TAGS}
    rows = [
        (feature, value, FIRST_INDEX + number, DAY)
        for feature, found in values.items()
        for number, value in enumerate(found)
    ]
    lake.append(tables.VOCABULARIES, lake.spark.createDataFrame(rows, tables.VOCABULARIES.schema))


def write_users(lake: Lake, config: Config, users: dict[str, User]) -> None:
    """The snapshot and the histories, encoded as the jobs of a day encode them."""
    raw = tables.users(config).schema
    rows = [{"ds": DAY, "user_id": user_id, **user.features} for user_id, user in users.items()]
    frame = lake.spark.createDataFrame([tuple(row[name] for name in raw.names) for row in rows], raw)
    numbers = {user_id: FIRST_INDEX + number for number, user_id in enumerate(users)}
    index = F.udf(numbers.get, "int")("user_id")
    vocabularies = lake.read(tables.VOCABULARIES)
    encoded = encode(frame, "user_id", "user", config.features.user, vocabularies).withColumn("user_index", index)
    day = F.lit(DAY)
    snapshot = encoded.withColumns({"first_seen": day, "last_seen": day}).select(tables.user_snapshot(config).columns)
    lake.overwrite(tables.user_snapshot(config), DAY, snapshot.drop("ds"))
    position = {item_id: FIRST_INDEX + number for number, item_id in enumerate(ITEM_IDS)}
    histories: list[tuple[Any, ...]] = [
        (DAY, user_id, [position[item] for item in user.history], [], [*map(minute_of, user.clicked_at)])
        for user_id, user in users.items()
        if user.history
    ]
    table = tables.TIMED_USER_HISTORIES
    rows_of = lake.spark.createDataFrame(histories, table.schema)
    if not config.features.has_gaps:
        table, rows_of = tables.USER_HISTORIES, rows_of.drop("clicked_minutes")
    lake.overwrite(table, DAY, rows_of.drop("ds"))


def minute_of(time: dt.datetime | None) -> int | None:
    return None if time is None else int(time.timestamp() // 60)


def put_model(lake: Lake, config: Config, version: str, live_rows: bool = False) -> TwoTowers:
    """A model of random weights, and its row of model_versions."""
    spec = model_spec(config, lake.read(tables.VOCABULARIES))
    rows = {"user_id": USERS // 2, "item_id": ITEMS // 2} if live_rows else {}
    torch.manual_seed(int(version[-1]))
    towers = TwoTowers(type(spec)(**{**vars(spec), "table_rows": rows}))
    towers.assign_rows(every_second(rows))
    with torch.no_grad():
        for weights in towers.user.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    save_model(Path(lake.model_path("models", version)), towers, ModelVersion(version, towers.spec, {}, {}, {}))
    row = {"ds": DAY, "model_version": version, "trained_on": DAY, "training_rows": 1, "training_examples_version": 0,
           "seconds": 1.0, "final_loss": 1.0}  # fmt: skip
    lake.overwrite(
        tables.MODEL_VERSIONS, DAY, lake.spark.createDataFrame([row], tables.MODEL_VERSIONS.schema).drop("ds")
    )
    return towers


def every_second(rows: dict[str, int]) -> dict[str, torch.Tensor]:
    """The indices with a row: padding, unknown, and every second value."""
    return {
        name: torch.cat([torch.arange(FIRST_INDEX), FIRST_INDEX + 2 * torch.arange(count - FIRST_INDEX)])
        for name, count in rows.items()
    }


def put_items(lake: Lake, version: str) -> None:
    """Unit vectors of the items, of which every tenth may not be shown, and a list for each user."""
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = [
        {"ds": DAY, "item_id": item_id, "item_index": FIRST_INDEX + number, "available": number % 10 != 0,
         "embedding": vectors[number].tolist(), "feature_embedding": None, "model_version": version}
        for number, item_id in enumerate(ITEM_IDS)
    ]  # fmt: skip
    lists = [
        {"ds": DAY, "user_id": user_id, "candidates": [], "model_version": version, "scored_at": AT}
        for user_id in USER_IDS
    ]
    for table, rows in ((tables.ITEM_EMBEDDINGS, items), (tables.CANDIDATES, lists)):
        lake.overwrite(table, DAY, lake.spark.createDataFrame(rows, table.schema).drop("ds"))


def publish(lake: Lake, version: str, **changed: Any) -> int:
    """Publish the newest versions of the tables, with these columns changed."""
    versions = {
        f"{table.name}_version": lake.version(table)
        for table in (tables.CANDIDATES, tables.ITEM_EMBEDDINGS, tables.USER_EMBEDDINGS)
    }
    target = {"ds": DAY, "model_version": version, "users": USERS, **versions, **changed}
    return add_publication(lake, last_publication(lake), target, AT)


def batch_vectors(lake: Lake) -> dict[str, np.ndarray]:
    """The vectors [Q, D] that the day has, by user."""
    rows = pl.concat(lake.batches(tables.USER_EMBEDDINGS, DAY, ["user_id", "embedding"]))
    return {user_id: np.array(vector, np.float32).reshape(-1, 64) for user_id, vector in rows.iter_rows()}


def version_in(folder: Path) -> str:
    """The version that readers of a folder follow."""
    return str(json.loads((folder / "current.json").read_text("utf-8"))["version"])
