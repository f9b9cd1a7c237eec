"""Which device the ranks get that Spark starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.training.launch import output_places, uses_spark_gpus
from model.features import ModelSpec
from model.training.spec import RunSpec

OF_A_TASK, OF_THE_DRIVER = "spark.task.resource.gpu.amount", "spark.driver.resource.gpu.amount"


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_ranks_get_the_gpus_that_spark_was_given(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert uses_spark_gpus({OF_A_TASK: "1"}, device, on_driver=False)
    assert uses_spark_gpus({OF_THE_DRIVER: "2"}, device, on_driver=True)
    assert not capsys.readouterr().out


def test_ranks_on_executors_that_train_on_cpus_by_default_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert not uses_spark_gpus({OF_THE_DRIVER: "1"}, "auto", on_driver=False)
    assert f"the ranks train on CPUs, because {OF_A_TASK} is not set" in capsys.readouterr().out


def test_no_note_is_printed_where_cpus_are_wanted_or_torch_looks_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert not uses_spark_gpus({OF_A_TASK: "1"}, "cpu", on_driver=False)
    assert not uses_spark_gpus({}, "auto", on_driver=True)  # the ranks on the driver see all of its GPUs
    assert not capsys.readouterr().out


@pytest.mark.parametrize("amount", ["0", "0.5", "many"])
def test_a_gpu_that_spark_was_not_given_whole_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match=f"{OF_A_TASK} must be a whole number of at least 1 .*, got {amount}"):
        uses_spark_gpus({OF_A_TASK: amount}, "cuda", on_driver=False)


RUN = RunSpec(
    model_version="v1", model=ModelSpec((), (), {}, 8, ()), epochs=1, learning_rate=0.1, dense_learning_rate=0.1,
    embedding_weight_decay=0.0, weight_decay=0.0, seed=1, device="cpu", threads=1, ranks=1, precision="float32",
    compile=False, max_table_gb=0.0, checkpoint_steps=1, patience=0, warm_start=None, inputs={}, configuration={},
)  # fmt: skip


@pytest.mark.parametrize("launch", ["process", "spark_driver", "spark_executors"])
def test_a_mounted_lake_needs_no_copies(launch: str, tmp_path: Path) -> None:
    places = output_places(tmp_path.as_uri(), launch, RUN, tmp_path / "draft")
    assert places == {"folder": tmp_path / "draft" / "model", "checkpoints": tmp_path / "checkpoints" / "v1"}


def test_a_lake_in_a_store_gets_copies_of_the_checkpoints(tmp_path: Path) -> None:
    for launch in ("process", "spark_driver"):
        places = output_places("s3a://bucket/lake", launch, RUN, tmp_path)
        assert places["checkpoint_store"] == "s3a://bucket/lake/checkpoints/v1"
        assert (places["folder"], places["checkpoints"]) == (tmp_path / "model", tmp_path / "checkpoints")
        assert "model_store" not in places


def test_executors_copy_their_model_into_a_store(tmp_path: Path) -> None:
    places = output_places("s3a://bucket/lake", "spark_executors", RUN, tmp_path)
    assert places["model_store"] == "s3a://bucket/lake/models/.trained"
    assert places["folder"].name == "v1"
    assert places["folder"].parent == places["checkpoints"].parent
    assert not places["folder"].is_relative_to(tmp_path)  # the driver's folder is not on the executors
    with pytest.raises(ValueError, match=r'training.start = "warm" .* requires a lake that every machine mounts'):
        output_places("s3a://bucket/lake", "spark_executors", replace(RUN, warm_start=tmp_path), tmp_path)
