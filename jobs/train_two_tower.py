"""A model version: two towers trained on the training examples of the window that ends with the day.

Pins the versions of its inputs, hands their files to a trainer process (`python -m model.fit`), and puts the model
folder it leaves under models/ in the lake. Overwrites the day of model_versions.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.artifacts import put_folder
from jobs.common.config import Config
from jobs.common.damage import readable_data
from jobs.common.declared_features import Feature
from jobs.common.encoding import FIRST, vocabulary_name
from jobs.common.ground import require_ground
from jobs.common.partitions import Lake, day_end
from jobs.common.presets import negatives_of, settings_of
from model.features import FeatureSpec, ModelSpec
from model.versions import MANIFEST


class TrainingFailed(ValueError):
    """The trainer process ended without a model."""


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def model_spec(config: Config, vocabularies: DataFrame) -> ModelSpec:
    """The model that the declared features and the vocabularies' sizes call for."""
    last = vocabularies.groupBy("feature").agg(F.max("index").alias("index")).collect()  # a row a declared feature
    sizes = {row.feature: row["index"] + 1 for row in last}
    user, item = (_specs(side, getattr(config.features, side)) for side in ("user", "item"))
    wanted = {spec.vocabulary for spec in (*user, *item) if spec.vocabulary} | {"item_id"}
    return ModelSpec(
        user,
        item,
        {name: sizes.get(name, FIRST) for name in sorted(wanted)},
        config.model.embedding_dim,
        config.model.hidden,
        config.model.share_item_table,
    )


def _specs(side: str, features: Sequence[Feature]) -> tuple[FeatureSpec, ...]:
    specs = []
    for feature in features:
        column = f"{side}_index" if feature.kind == "id" else feature.name
        vocabulary = None if feature.kind in ("numeric", "vector") else vocabulary_name(side, feature)
        vocabulary = feature.name if feature.kind == "id" else vocabulary
        specs.append(FeatureSpec(feature.name, feature.kind, feature.dim, feature.length, column, vocabulary))
    return tuple(specs)


def numeric_stats(rows: DataFrame, features: Sequence[Feature]) -> dict[str, tuple[list[float], list[float]]]:
    """Mean and deviation of each numeric feature and of each place of a vector; (0, 1) where nothing is known."""
    places = {
        f"{feature.name}[{place}]": F.col(feature.name)[place] if feature.length > 1 else F.col(feature.name)
        for feature in features
        if feature.kind in ("numeric", "vector")
        for place in range(feature.length)
    }
    if not places:
        return {}
    aggregates = [(F.avg(value), F.stddev_pop(value)) for value in places.values()]
    found = rows.agg(*(column for pair in aggregates for column in pair)).first()
    stats: dict[str, tuple[list[float], list[float]]] = {}
    for number, name in enumerate(places):
        mean, std = stats.setdefault(name.split("[")[0], ([], []))
        mean.append(found[2 * number] or 0.0)  # type: ignore[index]
        std.append(found[2 * number + 1] or 1.0)  # type: ignore[index]
    return stats


@readable_data()
def training_order(lake: Lake, config: Config, ds: dt.date) -> dict[str, Any]:
    """What the trainer is to do, as JSON: pinned inputs, specification, settings, and the version's name."""
    examples = lake.pinned(tables.training_examples(config), ds, config.log.examples_window_days)
    items = lake.pinned(tables.item_snapshot(config), ds, 1)
    probabilities = lake.pinned(tables.ITEM_SAMPLING_PROBS, ds, 1)
    pool_is_empty = lake.day(tables.UNCLICKED_ITEMS, ds).isEmpty()
    spec = model_spec(config, lake.read(tables.VOCABULARIES))
    inputs = {
        "ds": ds.isoformat(),
        "examples_window_days": config.log.examples_window_days,
        "versions": {
            "training_examples": examples.version,
            "item_snapshot": items.version,
            "item_sampling_probs": probabilities.version,
        },
    }
    configuration = config.model_dump(
        mode="json", include={"features", "model", "training", "negatives", "pool", "log", "examples"}
    )
    identity = json.dumps([inputs, configuration], sort_keys=True).encode()
    window = lake.window(tables.training_examples(config), ds, config.log.examples_window_days)
    return {
        "model_version": f"{ds.isoformat()}-{hashlib.sha256(identity).hexdigest()[:8]}",
        "spec": spec.to_json(),
        "settings": settings_of(config),
        "negatives": negatives_of(config, pool_is_empty),
        "unclicked_length": config.examples.unclicked,
        "final_before": int(day_end(ds).timestamp()),
        "examples": examples.to_json(),
        "items": items.to_json(),
        "probabilities": probabilities.to_json(),
        "numeric_stats": {
            "user": numeric_stats(window, config.features.user),
            "item": numeric_stats(lake.day(tables.item_snapshot(config), ds), config.features.item),
        },
        "inputs": inputs,
        "configuration": configuration,
    }


def train(order: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the trainer process on an order; returns the manifest of the model folder that it left in `folder`."""
    file = folder / "order.json"
    file.write_text(json.dumps({**order, "folder": str(folder / "model")}, default=str), "utf-8")
    # by PYTHONPATH, not by folder: the home may be a zip
    environment = {**os.environ, "PYTHONPATH": str(_home())}
    done = subprocess.run([sys.executable, "-P", "-m", "model.fit", str(file)], check=False, env=environment)
    if done.returncode:
        raise TrainingFailed(f"the trainer of {order['model_version']} ended with exit code {done.returncode}")
    return json.loads((folder / "model" / MANIFEST).read_text("utf-8"))


def _home() -> Path:
    return Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "train_two_tower")
    require_ground(lake, args.ds)
    order = training_order(lake, config, args.ds)
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as folder:
        metrics = train(order, Path(folder))["metrics"]
        put_folder(lake.spark, Path(folder) / "model", lake.model_path("models", order["model_version"]))
    examples_version = order["inputs"]["versions"]["training_examples"]
    row = (
        args.ds,
        order["model_version"],
        metrics["training_rows"],
        examples_version,
        metrics["seconds"],
        metrics["final_loss"],
    )
    rows = lake.spark.createDataFrame([row], tables.MODEL_VERSIONS.schema)
    lake.overwrite(tables.MODEL_VERSIONS, args.ds, rows)
    return int(metrics["training_rows"])


if __name__ == "__main__":
    run(main)
