"""What dropping ids does to inputs, and to the unknown index."""

from __future__ import annotations

import pytest
import torch

from model.towers.two_towers import Tower, drop_ids
from model.vocabulary import PADDING, UNKNOWN
from tests.model.towers.small_towers import SIZES, USER, USERS, D


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_dropped_share_is_the_one_asked_for() -> None:
    ids = torch.arange(2, 20_002)
    dropped = drop_ids(ids, 0.3, generator())
    changed = dropped != ids
    assert bool((dropped[changed] == UNKNOWN).all())
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.015)  # 4.6 deviations


def test_a_share_of_nothing_and_of_all() -> None:
    ids = torch.arange(2, 1002)
    assert torch.equal(drop_ids(ids, 0.0, generator()), ids)
    assert bool((drop_ids(ids, 1.0, generator()) == UNKNOWN).all())


def test_padding_is_never_dropped() -> None:
    ids = torch.tensor([[5, PADDING], [PADDING, 6]])
    assert drop_ids(ids, 1.0, generator()).tolist() == [[UNKNOWN, PADDING], [PADDING, UNKNOWN]]


def test_what_is_dropped_follows_from_the_generator() -> None:
    ids, one, same, other = torch.arange(2, 502), generator(), generator(), generator(1)
    first = drop_ids(ids, 0.5, one)
    assert torch.equal(drop_ids(ids, 0.5, same), first)
    assert not torch.equal(drop_ids(ids, 0.5, one), first)
    assert not torch.equal(drop_ids(ids, 0.5, other), first)


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.5, True)])
def test_dropping_ids_is_what_trains_the_unknown_one(share: float, moves: bool) -> None:
    tower = Tower([USER], SIZES, (), D)
    table = tower.embedding("user_id").get_parameter("table.weight")
    before = table[UNKNOWN].detach().clone()
    optimizer = torch.optim.SGD(tower.parameters(), lr=1.0)
    ids = torch.arange(2, USERS).repeat(10)
    tower({"user_id": drop_ids(ids, share, generator())})[:, 0].sum().backward()
    optimizer.step()
    assert torch.equal(table[UNKNOWN], before) != moves


def test_clicks_that_are_left_out_are_padding() -> None:
    history = torch.tensor([[2, 3, 4, 0]] * 500)
    dropped = drop_ids(history, 0.3, torch.Generator().manual_seed(1), by=PADDING)
    assert set(dropped[dropped != history].tolist()) == {PADDING}
    assert 0.25 < float((dropped[:, :3] == PADDING).float().mean()) < 0.35
    assert drop_ids(history, 0.0, torch.Generator()) is history
