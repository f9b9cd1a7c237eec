"""The specification of the model for the configured features, and the statistics of numeric features."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.loading import Config
from model.features import Feature, FeatureSpec, ModelSpec
from model.vocabulary import FIRST_INDEX


def model_spec(config: Config, vocabularies: DataFrame) -> ModelSpec:
    """The model for the declared features; the vocabularies determine the sizes of its embedding tables."""
    last = vocabularies.groupBy("feature").agg(F.max("index").alias("index")).collect()  # one row per declared feature
    sizes = {row.feature: row["index"] + 1 for row in last}
    user, item = (FeatureSpec.all_declared(config.features.of(side), side) for side in ("user", "item"))
    used = {spec.vocabulary for spec in (*user, *item) if spec.vocabulary} | {"item_id"}
    return ModelSpec(
        user,
        item,
        {name: sizes.get(name, FIRST_INDEX) for name in sorted(used)},
        config.model.embedding_dim,
        config.model.hidden,
        config.model.share_item_table,
        config.model.user_encoder,
        config.model.item_id_shrinkage,
        interests=config.model.interests,
    )


def numeric_stats(rows: DataFrame, features: Sequence[Feature]) -> dict[str, tuple[list[float], list[float]]]:
    """(means, standard deviations) of each numeric feature, one per element of a vector; 0 and 1 if all are null.

    Also 0 and 1 of a feature whose kind says that it is scaled. Recent clicks are: most items of a catalogue have none,
    so that those with clicks would be many deviations from the mean.
    """
    stats: dict[str, tuple[list[float], list[float]]] = {
        feature.name: ([0.0] * feature.length, [1.0] * feature.length) for feature in features if feature.is_scaled
    }
    values = {
        f"{feature.name}[{element}]": F.col(feature.name)[element] if feature.length > 1 else F.col(feature.name)
        for feature in features
        if feature.holds_numbers and not feature.is_scaled
        for element in range(feature.length)
    }
    if not values:
        return stats
    aggregates = [(F.avg(value), F.stddev_pop(value)) for value in values.values()]
    measured = rows.agg(*(column for pair in aggregates for column in pair)).first()
    for number, name in enumerate(values):
        mean, std = stats.setdefault(name.split("[")[0], ([], []))
        mean.append(measured[2 * number] or 0.0)  # type: ignore[index]
        std.append(measured[2 * number + 1] or 1.0)  # type: ignore[index]
    return stats
