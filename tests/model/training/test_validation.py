"""The rank of a click among all items, compared with a sorted list."""

from __future__ import annotations

import pytest
import torch

from model.training.validation import ranking
from model.training.validation.ranking import ranks_of_positives


@pytest.mark.parametrize("block", [3, 7, 65_536])
def test_ranks_are_those_of_a_sorted_list(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(ranking, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    items = torch.tensor([2, 3, 5, 8, 9, 11, 12, 20, 21, 30])
    queries, vectors = torch.randn(40, 4, generator=generator), torch.randn(len(items), 4, generator=generator)
    positives = items[torch.randint(len(items), (40,), generator=generator)]
    seen = torch.randint(0, 32, (40, 5), generator=generator)  # with repetitions, padding and items that are not there
    found = ranks_of_positives(queries, positives, vectors, items, seen)
    for row in range(40):
        hidden = set(seen[row].tolist()) - {int(positives[row])}
        scores = {int(i): float(queries[row] @ v) for i, v in zip(items, vectors, strict=True) if int(i) not in hidden}
        ranked = sorted(scores, key=lambda item: -scores[item])
        assert int(found[row]) == ranked.index(int(positives[row]))


def test_a_click_on_an_unavailable_item_ranks_last() -> None:
    items, vectors = torch.tensor([2, 3]), torch.eye(2)
    assert ranks_of_positives(torch.ones(3, 2), torch.tensor([4, 1, 2]), vectors, items, None).tolist() == [2, 2, 1]


def test_towers_that_score_all_items_alike_find_nothing() -> None:
    items = torch.arange(2, 102)
    found = ranks_of_positives(torch.ones(5, 3), items[:5], torch.ones(100, 3), items, None)
    assert found.tolist() == [99] * 5


def test_equal_vectors_tie_however_their_products_are_rounded() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(200, 64, generator=generator), dim=1)
    items = torch.arange(2, 502)
    vectors = torch.nn.functional.normalize(torch.randn(64, generator=generator), dim=0).expand(500, 64).contiguous()
    assert not torch.equal(queries @ vectors.T, (queries * vectors[0]).sum(dim=1, keepdim=True).expand(200, 500))
    seen = items[100:110].expand(200, 10)
    assert ranks_of_positives(queries, items[:200], vectors, items, None).tolist() == [499] * 200
    clicked = torch.where(torch.isin(items[:200], seen), 490, 489)  # a positive is never left out
    assert ranks_of_positives(queries, items[:200], vectors, items, seen).tolist() == clicked.tolist()


def test_an_item_has_the_best_score_of_a_users_interests() -> None:
    generator = torch.Generator().manual_seed(0)
    items = torch.tensor([2, 3, 5, 8, 9, 11, 12, 20, 21, 30])
    queries, vectors = torch.randn(40, 3, 4, generator=generator), torch.randn(len(items), 4, generator=generator)
    positives = items[torch.randint(len(items), (40,), generator=generator)]
    seen = torch.randint(0, 32, (40, 5), generator=generator)
    found = ranks_of_positives(queries, positives, vectors, items, seen)
    for row in range(40):
        hidden = set(seen[row].tolist()) - {int(positives[row])}
        scores = {int(i): float((queries[row] @ v).max()) for i, v in zip(items, vectors, strict=True)}
        ranked = sorted(set(scores) - hidden, key=lambda item: -scores[item])
        assert int(found[row]) == ranked.index(int(positives[row]))
    one = ranks_of_positives(queries[:, :1], positives, vectors, items, seen)
    assert torch.equal(one, ranks_of_positives(queries[:, 0], positives, vectors, items, seen))
    assert not torch.equal(one, found)
