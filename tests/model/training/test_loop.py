"""The training loop with a loss of one parameter, and the line that the progress bar prints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from model.training import loop as training
from model.training.loop import Batch, Progress, TrainingDiverged, train
from model.training.processes.progress_bar import progress_bar

STEPS = [[1.0, 2.0, 3.0], [5.0]]  # the rows of an epoch's two batches


def batches(epoch: int, done: int = 0) -> list[Batch]:
    return [{"x": torch.tensor(rows)} for rows in STEPS][done:]


def descent(weight: nn.Parameter, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([weight], lr=lr)


def mean_times(weight: nn.Parameter) -> Callable[[Batch], Tensor]:
    return lambda batch: weight * batch["x"].mean()


def diverging(weight: nn.Parameter, at: float, value: float) -> Callable[[Batch], Tensor]:
    """`value`, with a gradient that would spoil the weight, in the batch whose first row is `at`."""
    return lambda batch: weight * (value if batch["x"][0] == at else batch["x"].mean())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_step_and_leaves_the_weights(value: float) -> None:
    weight, undisturbed = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(2.0))
    train(mean_times(undisturbed), lambda epoch, done: batches(epoch)[:1], [descent(undisturbed)], 1)
    with pytest.raises(TrainingDiverged, match=rf"the loss of step 2 \(epoch 0\) is {value}"):
        train(diverging(weight, 5.0, value), batches, [descent(weight)], 1)
    assert undisturbed.item() != 2.0
    assert torch.equal(weight, undisturbed)
    assert weight.grad is None


def test_no_batch_is_drawn_after_the_one_that_diverged() -> None:
    weight, drawn = nn.Parameter(torch.tensor(2.0)), []

    def watched(epoch: int, done: int) -> Iterable[Batch]:
        for batch in batches(epoch):
            drawn.append(epoch)
            yield batch

    with pytest.raises(TrainingDiverged):
        train(diverging(weight, 1.0, math.nan), watched, [descent(weight)], 3)
    assert drawn == [0]


def test_the_error_names_the_epoch_it_happened_in() -> None:
    weight = nn.Parameter(torch.tensor(2.0))
    in_the_second = [batches(0), [{"x": torch.tensor([7.0])}]]
    with pytest.raises(TrainingDiverged, match=r"step 3 \(epoch 1\)"):
        train(diverging(weight, 7.0, math.nan), lambda epoch, done: in_the_second[epoch], [descent(weight)], 2)


def test_progress_counts_epochs_steps_and_rows() -> None:
    weight, seen = nn.Parameter(torch.tensor(2.0)), []
    last = train(
        mean_times(weight),
        batches,
        [descent(weight)],
        2,
        on_step=lambda now: seen.append((now.epoch, now.step, now.rows)),
    )
    assert seen == [(0, 1, 3), (0, 2, 4), (1, 3, 7), (1, 4, 8)]
    assert (last.epoch, last.step, last.rows) == (2, 4, 8)


def test_on_step_gets_the_loss_of_each_step() -> None:
    weight, seen = nn.Parameter(torch.tensor(1.0)), []
    train(mean_times(weight), batches, [descent(weight, lr=0.0)], 1, on_step=lambda now: seen.append(now.loss))
    assert seen == [2.0, 5.0]


def test_the_last_loss_is_the_mean_over_the_rows_of_the_last_epoch() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    epochs = [[{"x": torch.tensor([100.0])}], batches(1)]
    last = train(mean_times(weight), lambda epoch, done: epochs[epoch], [descent(weight, lr=0.0)], 2)
    assert last.loss == pytest.approx((3 * 2.0 + 1 * 5.0) / 4)


def test_an_interrupted_run_continues_after_its_last_step() -> None:
    """It is interrupted after the first step, at the end of the first epoch, and within the second epoch."""
    undisturbed = nn.Parameter(torch.tensor(2.0))
    whole = train(mean_times(undisturbed), batches, [descent(undisturbed)], 2)
    for stop in (1, 2, 3):
        weight, stood = nn.Parameter(torch.tensor(2.0)), []

        def cut_off(now: Progress, stop: int = stop, stood: list[Progress] = stood) -> None:
            if now.step == stop:
                stood.append(replace(now))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(mean_times(weight), batches, [descent(weight)], 2, on_step=cut_off)
        last = train(mean_times(weight), batches, [descent(weight)], 2, progress=stood[0])
        assert torch.equal(weight, undisturbed)
        assert (last.step, last.rows, last.loss) == (whole.step, whole.rows, whole.loss)


def test_on_epoch_end_may_stop_the_run() -> None:
    weight = nn.Parameter(torch.tensor(2.0))
    last = train(mean_times(weight), batches, [descent(weight)], 9, on_epoch_end=lambda now: now.epoch == 1)
    assert last.step == 4


def test_gradients_do_not_add_up_over_steps() -> None:
    weight = nn.Parameter(torch.tensor(2.0))
    train(mean_times(weight), batches, [descent(weight)], 1)
    assert weight.item() == pytest.approx(2.0 - 0.1 * 2.0 - 0.1 * 5.0)


def test_every_optimizer_steps() -> None:
    one, two = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
    train(lambda batch: one + two + batch["x"].sum(), batches, [descent(one), descent(two, lr=0.5)], 1)
    assert (one.item(), two.item()) == pytest.approx((1 - 2 * 0.1, 1 - 2 * 0.5))


def test_epochs_are_numbered_from_0() -> None:
    weight, asked = nn.Parameter(torch.tensor(1.0)), []
    train(mean_times(weight), lambda epoch, done: asked.append(epoch) or batches(epoch), [descent(weight)], 3)  # type: ignore[func-returns-value]
    assert asked == [0, 1, 2]


def test_only_time_spent_on_data_counts_as_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves by 3 s per batch read, 2 s at an epoch's end, 5 s per step, 7 and 100 s in the callbacks."""
    weight, clock = nn.Parameter(torch.tensor(1.0)), [0.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def passes(seconds: float) -> None:
        clock[0] += seconds

    def slow_batches(epoch: int, done: int) -> Iterable[Batch]:
        for batch in batches(epoch):
            passes(3)
            yield batch
        passes(2)

    def slow_loss(batch: Batch) -> Tensor:
        passes(5)
        return mean_times(weight)(batch)

    ends: list[int] = []

    def judge(now: training.Progress) -> bool:
        ends.append(now.step)
        passes(100)
        return False

    last = train(slow_loss, slow_batches, [descent(weight)], 2, on_step=lambda now: passes(7), on_epoch_end=judge)
    assert ends == [2, 4]
    assert last.waiting == 4 * 3 + 2 * 2
    assert last.seconds == 4 * 3 + 2 * 2 + 4 * 5
    assert last.rows_per_second == pytest.approx(8 / last.seconds)


def test_a_log_gets_one_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(1000) as watch:
        watch(Progress(epoch=0, step=12_345, loss=1.5, rows=250, seconds=2.0, waiting=0.5))
        watch(Progress(epoch=1, step=12_346, loss=1.25, rows=1_000_000, seconds=2.0, waiting=0.5))
    want = "  12,346 steps, loss 1.2500, 500,000 examples/s, 25% of the time waiting for data"
    assert [line for line in capsys.readouterr().out.splitlines() if line.strip()] == [want]


def test_a_failed_training_prints_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        with progress_bar(1000) as watch:
            watch(Progress(epoch=0, step=1, loss=1.5, rows=250, seconds=2.0, waiting=0.5))
            raise TrainingDiverged

    with pytest.raises(TrainingDiverged):
        fails()
    assert not capsys.readouterr().out.strip()
