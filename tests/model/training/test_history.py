"""The curve of the loss, with a point for so many rows; and which epoch is chosen, within the noise of its clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from model.training.loop import Progress
from model.training.validation.clicks import RankedClicks
from model.training.validation.history import History

HIT, MISS = 0, 100  # ranks: within 100 or not


def curve(losses_and_rows: list[tuple[float, int]], rows_per_point: int) -> list[list[float]]:
    history = History()
    for step, (loss, rows) in enumerate(losses_and_rows, start=1):
        history.add_loss(Progress(step=step, loss=loss, step_rows=rows), rows_per_point)
    return history.curve


def test_each_full_batch_can_be_a_point() -> None:
    assert curve([(5.0, 4), (3.0, 4)], 4) == [[1, 5.0], [2, 3.0]]


def test_a_short_batch_counts_by_its_rows_in_the_next_point() -> None:
    found = curve([(5.0, 4), (1.0, 1), (5.0, 4), (5.0, 4)], 4)
    assert found == [[1, 5.0], [3, pytest.approx((1.0 + 5.0 * 4) / 5)], [4, 5.0]]


def test_a_point_is_the_mean_of_all_rows_since_the_one_before() -> None:
    assert curve([(6.0, 2), (3.0, 4), (1.0, 2), (1.0, 4)], 6) == [[2, 4.0], [4, 1.0]]


def clicks(*ranks: int) -> RankedClicks:
    """A click of a user of its own for each rank."""
    return RankedClicks(torch.tensor(ranks), torch.arange(len(ranks)))


def history_of(epochs: Sequence[RankedClicks]) -> History:
    history = History()
    for ranked in epochs:
        history.add(ranked)
    return history


def test_a_later_epoch_is_chosen_if_the_best_one_is_better_by_noise_only() -> None:
    """Of 100 clicks, two are lost and one is found: a difference of .01, with a standard error of .017."""
    best = [HIT] * 50 + [MISS] * 50
    later = [MISS] * 2 + [HIT] * 49 + [MISS] * 49
    history = history_of([clicks(*best), clicks(*later)])
    assert (history.best, history.chosen) == (0, 1)
    assert history.kept(patience=1) == history.validations[1]


def test_an_earlier_epoch_is_chosen_if_it_is_better_by_more_than_the_standard_error() -> None:
    """Five clicks are lost and none is found: .05, with a standard error of .022."""
    best = [HIT] * 50 + [MISS] * 50
    history = history_of([clicks(*best), clicks(*[MISS] * 5, *best[5:])])
    assert (history.best, history.chosen) == (0, 0)
    assert (history.is_over(1), history.is_over(2), history.is_over(0)) == (True, False, False)
    assert history.kept(patience=0) == history.validations[1]  # no early stopping: the last weights are kept


def test_epochs_are_compared_at_the_longer_of_the_configured_lengths() -> None:
    """The second epoch is worse within 100 items and better within 3; a state that is read keeps the lengths."""
    within_three, within_hundred = [2] * 50 + [MISS] * 50, [50] * 100
    chosen = {}
    for cutoffs in ((1, 3), (1, 100)):
        first, second = (replace(clicks(*ranks), cutoffs=cutoffs) for ranks in (within_hundred, within_three))
        state = history_of([first]).state_dict()
        state["best_clicks"]["cutoffs"] = [*cutoffs]  # as JSON has it
        chosen[cutoffs] = History.from_state_dict(state).add(second)
    assert chosen == {(1, 3): True, (1, 100): False}


def test_epochs_that_slide_down_step_by_step_are_compared_with_the_best() -> None:
    """The third epoch differs from the second by noise (.02, standard error .025), but clearly from the first."""

    def epoch(lost: set[int], found: set[int]) -> RankedClicks:
        return clicks(*(HIT if number in ({*range(50)} - lost) | found else MISS for number in range(100)))

    third = epoch({2, 3, 4, 5}, {50})
    assert history_of([epoch({0, 1}, {50}), third]).chosen == 1
    history = history_of([epoch(set(), set()), epoch({0, 1}, {50}), third])
    assert (history.best, history.chosen) == (0, 1)


def test_a_state_that_is_stored_and_read_continues_with_the_same_choice() -> None:
    first, second = clicks(HIT, HIT, MISS, MISS), clicks(HIT, HIT, MISS, HIT)
    history = history_of([first, second])
    history.before_last_pass = first
    restored = History.from_state_dict(history.state_dict())
    assert restored.best_clicks is not None
    assert restored.best_clicks.ranks.tolist() == second.ranks.tolist()
    assert restored.before_last_pass is not None
    assert restored.before_last_pass.ranks.tolist() == first.ranks.tolist()
    assert restored.add(clicks(MISS, MISS, MISS, MISS)) == history.add(clicks(MISS, MISS, MISS, MISS)) is False
    assert (restored.validations, restored.chosen) == (history.validations, history.chosen)
