"""Lists merged from channels, compared with the rule written as Python loops."""

from __future__ import annotations

import numpy as np
import pytest

from model.search.lists.channels import Cap, Channel, merge_channels

K = 6


def by_hand(channels: list[Channel], k: int, cap: Cap | None) -> list[list[tuple[int, float, int]]]:
    """(item, score, source) of each user's list, channel by channel and item by item."""
    lists = []
    for user in range(len(channels[0].items)):
        taken: dict[int, tuple[float, int]] = {}
        for channel in channels:
            given = 0
            for item, score in zip(channel.items[user].tolist(), channel.scores[user].tolist(), strict=True):
                alike = 0 if cap is None else sum(cap.categories[other] == cap.categories[item] for other in taken)
                full = cap is not None and channel.capped and alike >= cap.max_items
                if item == -1 or item in taken or full or len(taken) == k or given == channel.quota:
                    continue
                taken[item] = (score, channel.source)
                given += 1
        lists.append(sorted(((i, s, c) for i, (s, c) in taken.items()), key=lambda one: (-one[1], one[0])))
    return lists


def random_channel(
    rng: np.random.Generator, source: int, width: int, quota: int | None, *, capped: bool = True
) -> Channel:
    items = np.stack([rng.permutation(12)[:width] for _ in range(40)])
    for row, length in enumerate(rng.integers(0, width + 1, len(items))):
        items[row, length:] = -1
    scores = -np.sort(-rng.integers(0, 9, items.shape), axis=1).astype(np.float32)
    return Channel(source, items, np.where(items == -1, -np.inf, scores), quota, capped)


@pytest.mark.parametrize("most", [None, 1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_channels_are_merged_by_the_rule(seed: int, most: int | None) -> None:
    rng = np.random.default_rng(seed)
    main = random_channel(rng, 0, 8, 3)
    channels = [
        main,
        random_channel(rng, 1, 5, 2),
        random_channel(rng, 2, 10, 1),
        Channel(0, main.items, main.scores),
        random_channel(rng, 3, 9, None, capped=False),
    ]
    cap = None if most is None else Cap(rng.integers(0, 4, 12), most)
    found, scores, sources = merge_channels(channels, K, cap)
    expected = by_hand(channels, K, cap)
    assert any(len(row) < K for row in expected)
    assert any(len(row) == K for row in expected)
    for user, row in enumerate(expected):
        there = len(row)
        got = [array[user, :there].tolist() for array in (found, scores, sources)]
        assert list(zip(*got, strict=True)) == row
        assert (found[user, there:] == -1).all()
        assert np.isneginf(scores[user, there:]).all()


def test_an_item_beyond_a_quota_can_come_from_a_later_channel() -> None:
    first = Channel(0, np.array([[4, 5, 6]]), np.array([[0.9, 0.8, 0.7]], dtype=np.float32), quota=1)
    later = Channel(1, np.array([[6, 4]]), np.array([[0.2, 0.1]], dtype=np.float32))
    found, _, sources = merge_channels([first, later], 3)
    assert found.tolist() == [[4, 6, -1]]
    assert sources.tolist() == [[0, 1, 0]]
