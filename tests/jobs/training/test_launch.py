"""Which device the ranks get that Spark starts."""

from __future__ import annotations

import pytest

from jobs.training.launch import uses_spark_gpus

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
