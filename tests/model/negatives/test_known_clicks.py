"""Which clicks of a user are known, from the batch and from earlier steps."""

from __future__ import annotations

import torch

from model.negatives.known_clicks import MAX_ITEMS, KnownClicks


def of(known: KnownClicks, users: list[int], items: list[int]) -> list[set[int]]:
    found = known.clicked_by(torch.tensor(users), torch.tensor(users), torch.tensor(items))
    return [set(row.tolist()) - {-1} for row in found]


def push(known: KnownClicks, users: list[int], items: list[int]) -> None:
    known.push(torch.tensor(users), torch.tensor(items))


def test_a_users_rows_know_each_other_and_no_one_elses() -> None:
    assert of(KnownClicks(0), [5, 3, 5, 9], [20, 21, 22, 23]) == [{20, 22}, {21}, {20, 22}, {23}]


def test_past_steps_are_remembered_up_to_the_capacity() -> None:
    known = KnownClicks(3)
    push(known, [5, 3], [30, 31])
    push(known, [5, 9], [32, 33])  # only the newest three are stored, so user 3's click is dropped
    assert of(known, [5, 3, 9], [40, 41, 42]) == [{40, 32, 30}, {41}, {42, 33}]


def test_without_capacity_only_the_batch_is_known() -> None:
    known = KnownClicks(0)
    push(known, [5], [30])
    assert of(known, [5], [40]) == [{40}]


def test_a_user_who_fills_the_batch_has_a_bounded_mask_with_the_batch_first() -> None:
    known = KnownClicks(10)
    push(known, [1] * 10, list(range(1_000, 1_010)))
    users = torch.ones(4 * MAX_ITEMS, dtype=torch.int64)
    found = known.clicked_by(users, users, torch.arange(4 * MAX_ITEMS))
    assert found.shape == (4 * MAX_ITEMS, MAX_ITEMS)
    assert set(found[7].tolist()) == set(range(MAX_ITEMS))


def test_no_rows_know_nothing() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert KnownClicks(4).clicked_by(nothing, nothing, nothing).shape == (0, 0)


def test_it_resumes() -> None:
    known, resumed = KnownClicks(4), KnownClicks(4)
    push(known, [1, 2], [10, 20])
    resumed.load_state_dict(known.state_dict())
    assert of(resumed, [1, 2], [11, 21]) == of(known, [1, 2], [11, 21]) == [{11, 10}, {21, 20}]
