"""What the trainer gets: which rows, and which model to continue from; and how it is started."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from jobs import build_negative_pools, build_sampling_probs, run_day, train_two_tower
from jobs.config.loading import Config, load_config
from jobs.inference.references import model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.training.spec import StaleProbabilities, training_spec
from model.artifacts.model_version import load_model
from model.vocabulary import FIRST_INDEX
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after

FIRST, SECOND, THIRD, FOURTH = DAYS


def with_training(config: Config, **changes: Any) -> Config:
    held_out = {"validation": "last_day", **changes}
    return config.model_copy(update={"training": config.training.model_copy(update=held_out)})


def rows(lake: Lake, config: Config, ds: dt.date) -> int:
    return lake.day(tables.training_examples(config), ds).count()


def test_the_last_day_is_held_out_from_the_epochs(simulated: Lake, config: Config) -> None:
    data = training_spec(simulated, with_training(config), THIRD).data
    assert data.last_day is not None
    assert data.last_day.rows == rows(simulated, config, THIRD)
    assert data.examples.rows == sum(rows(simulated, config, ds) for ds in (FIRST, SECOND))
    assert not set(data.examples.files) & set(data.last_day.files)


def test_without_validation_no_day_is_held_out(simulated: Lake, config: Config) -> None:
    data = training_spec(simulated, with_training(config, validation="none"), THIRD).data
    assert data.last_day is None
    assert data.examples.rows == sum(rows(simulated, config, ds) for ds in (FIRST, SECOND, THIRD))


def test_the_tables_have_rows_for_the_ids_of_the_window(simulated: Lake, config: Config) -> None:
    """Many users of the vocabulary have not clicked yet; every item is available."""
    data = training_spec(simulated, config, THIRD).data
    assert (data.min_id_examples, data.epoch_day - data.first_recent_day) == (1, 9)  # of 30 days the last 10 are recent
    _, made = load_model(Path(simulated.model_path("models", model_version(simulated, THIRD))))
    examples = simulated.window(tables.training_examples(config), THIRD, config.log.examples_window_days)
    for column, name in (("user_index", "user_id"), ("item_index", "item_id")):
        live = examples.select(column).distinct().count()
        known = simulated.read(tables.VOCABULARIES).where(F.col("feature") == name).count()
        assert (
            made.spec.table_sizes[name] - FIRST_INDEX == live < known == made.spec.vocabulary_sizes[name] - FIRST_INDEX
        )


def test_on_the_first_day_no_day_is_held_out(simulated_copy: Lake, config: Config) -> None:
    build_sampling_probs.main(["--lake", simulated_copy.uri, "--config", SMALL, "--ds", str(FIRST)])
    data = training_spec(simulated_copy, with_training(config), FIRST).data
    assert (data.last_day, data.examples.rows) == (None, rows(simulated_copy, config, FIRST))


def test_probabilities_of_other_examples_are_refused_before_training(simulated_copy: Lake, config: Config) -> None:
    """The examples of an earlier day were built again, without one row, and the shares were not."""
    table = tables.training_examples(config)
    less = simulated_copy.day(table, SECOND).localCheckpoint()
    first = less.agg(F.min("impression_id")).first()
    assert first is not None
    simulated_copy.overwrite(table, SECOND, less.where(F.col("impression_id") != first[0]))
    with pytest.raises(StaleProbabilities, match=r"item_sampling_probs of 2026-03-01 .* shares of \d+ items differ"):
        training_spec(simulated_copy, config, THIRD)


def test_probabilities_without_a_trained_item_are_refused(simulated_copy: Lake, config: Config) -> None:
    probs = simulated_copy.day(tables.ITEM_SAMPLING_PROBS, THIRD).localCheckpoint()
    gone = probs.where("q > 0").agg(F.max("item_index")).first()
    assert gone is not None
    simulated_copy.overwrite(tables.ITEM_SAMPLING_PROBS, THIRD, probs.where(F.col("item_index") != gone[0]))
    with pytest.raises(StaleProbabilities, match=rf"the shares of 1 items differ \(first item index: {gone[0]}\)"):
        training_spec(simulated_copy, config, THIRD)


def settings(folder: Path, text: str) -> list[str]:
    """The small configuration with further keys in [training]."""
    file = folder / "over.toml"
    small = Path(SMALL).read_text().replace('validation = "none"', 'validation = "last_day"')
    file.write_text(small.replace("[training]\n", f"[training]\n{text}\n", 1))
    return ["--config", str(file)]


@pytest.mark.slow
def test_a_warm_start_continues_from_the_last_model(simulated_copy: Lake, tmp_path: Path) -> None:
    """It continues from the day before: the new day validates that model, and is then trained on alone."""
    lake, over = simulated_copy, settings(tmp_path, 'start = "warm"')
    config = load_config(over[1])
    common = ["--lake", lake.uri, "--config", SMALL, "--ds", str(FOURTH)]
    run_day.main([*common, "--tables-only"])
    for job in (build_negative_pools, build_sampling_probs):
        job.main(common)
    older = model_version(lake, THIRD)
    spec = training_spec(lake, config, FOURTH).run
    assert spec.inputs["warm_start"] == older
    assert spec.epochs == 0
    assert training_spec(lake, with_training(config, warm_epochs=2), FOURTH).run.epochs == 2
    train_two_tower.main(["--lake", lake.uri, *over, "--ds", str(FOURTH)])
    _, made = load_model(Path(lake.model_path("models", model_version(lake, FOURTH))))
    last = rows(lake, config, FOURTH)
    assert made.metrics["validation"]["rows"] == last
    assert made.metrics["steps"] == -(-last // config.training.batch_size)


def test_without_an_earlier_model_a_warm_start_trains_from_scratch(
    simulated: Lake, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_before = config.model_copy(update={"log": config.log.model_copy(update={"state_lookback_days": 1})})
    variant = Lake(simulated.spark, simulated.uri, "mns")  # which has no model of its own yet
    spec = training_spec(variant, with_training(nothing_before, start="warm"), THIRD).run
    assert (spec.warm_start, spec.epochs) == (None, config.training.epochs)
    assert "trained from scratch" in capsys.readouterr().out


@pytest.mark.parametrize("launch", slow_after(1, ["process", "spark_driver"]))
def test_two_ranks_train_one_model(simulated_copy: Lake, tmp_path: Path, launch: str) -> None:
    over = settings(tmp_path, f'ranks = 2\nlaunch = "{launch}"')
    train_two_tower.main(["--lake", simulated_copy.uri, *over, "--ds", str(THIRD)])
    _, made = load_model(Path(simulated_copy.model_path("models", model_version(simulated_copy, THIRD))))
    config = load_config(over[1])
    assert made.configuration["training"]["ranks"] == 2
    assert made.metrics["training_rows"] == sum(rows(simulated_copy, config, ds) for ds in (FIRST, SECOND, THIRD))
    assert made.metrics["validation"]["recall@50"] > 0.1
