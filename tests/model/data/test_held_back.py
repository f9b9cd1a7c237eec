"""Which users are held back from the last pass."""

from __future__ import annotations

import torch

from model.data.held_back import held_back
from model.vocabulary import FIRST_INDEX, UNKNOWN

KNOWN = [219, 3777, 5392, 6147, 7167, 9081, 9649, 10934, 11012, 11885, 13260, 14782, 16992, 17980, 18086, 18855, 19488]
USERS = torch.arange(FIRST_INDEX, 20_000 + FIRST_INDEX)


def test_the_users_are_the_same_in_every_version() -> None:
    """An interrupted training may be continued by a newer release."""
    assert USERS[held_back(USERS, 0.001, 738_000)].tolist() == KNOWN


def test_the_share_of_the_users_is_held_back_and_a_larger_share_adds_users() -> None:
    for share in (0.05, 0.3):
        assert abs(float(held_back(USERS, share, 1).float().mean()) - share) < 0.01
    assert bool((held_back(USERS, 0.3, 1) | ~held_back(USERS, 0.05, 1)).all())
    assert not held_back(USERS, 0.0, 1).any()


def test_another_day_holds_back_other_users() -> None:
    today, tomorrow = held_back(USERS, 0.1, 738_000), held_back(USERS, 0.1, 738_001)
    assert 0.05 < float(today[tomorrow].float().mean()) < 0.15


def test_all_rows_of_a_user_are_held_back_wherever_they_are() -> None:
    repeated = torch.cat([USERS, USERS.flip(0)])
    mask = held_back(repeated, 0.2, 1)
    assert torch.equal(mask[: len(USERS)], held_back(USERS, 0.2, 1))
    assert torch.equal(mask[: len(USERS)], mask[len(USERS) :].flip(0))


def test_users_without_an_index_of_their_own_are_not_held_back() -> None:
    unknown = torch.full((10,), UNKNOWN)
    assert not held_back(torch.cat([unknown, USERS]), 1.0, 1)[:10].any()
    assert held_back(torch.cat([unknown, USERS]), 1.0, 1)[10:].all()


def test_a_batch_keeps_two_rows_to_train_on() -> None:
    chosen = USERS[held_back(USERS, 0.3, 1)]
    other = USERS[~held_back(USERS, 0.3, 1)]
    one_left = torch.cat([chosen[:20], other[:1]])
    two_left = torch.cat([chosen[:20], other[:2]])
    assert not held_back(one_left, 0.3, 1).any()
    assert int(held_back(two_left, 0.3, 1).sum()) == 20
