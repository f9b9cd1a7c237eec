"""How well towers find clicks that they have not learnt from: the place of each among all items.

Axes: B examples, D embedding size, I items that are available, L length of a history, W items of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from model.training.loop import Batch
from model.training.ranks import ALONE, Ranks
from model.vocabulary import PADDING

BLOCK = 65_536  # items scored at once
AT = (10, 100)


def places(queries: Tensor, positives: Tensor, vectors: Tensor, items: Tensor, seen: Tensor | None) -> Tensor:
    """How many items stand above each row's positive: [B] int64, 0 is the best; I where it is not among the items.

    queries [B, D]; positives [B] item indices; vectors [I, D] and items [I], their indices, ascending; seen [B, L]:
    items that are not shown to the row's user again, 0 is padding; a positive among them counts all the same.
    An item that scores the same stands above, so that towers which tell nothing apart do not look good.
    """
    at = torch.searchsorted(items, positives).clamp(max=len(items) - 1)  # [B]
    scores = (queries * vectors[at]).sum(dim=1)  # [B]
    above = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(items), BLOCK):
        higher = queries @ vectors[start : start + BLOCK].T >= scores[:, None]  # [B, W]
        own = at - start  # [B]
        inside = (own >= 0) & (own < higher.shape[1])
        higher[inside.nonzero()[:, 0], own[inside]] = False
        above += higher.sum(dim=1)
    if seen is not None:
        above -= _above_and_seen(queries, positives, vectors, items, seen, scores)
    return torch.where(items[at] == positives, above, len(items))


def _above_and_seen(
    queries: Tensor, positives: Tensor, vectors: Tensor, items: Tensor, seen: Tensor, scores: Tensor
) -> Tensor:
    ordered = seen.sort(dim=1).values  # [B, L]
    repeated = torch.zeros_like(ordered, dtype=torch.bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    at = torch.searchsorted(items, ordered).clamp(max=len(items) - 1)  # [B, L]
    there = (items[at] == ordered) & (ordered != PADDING) & (ordered != positives[:, None]) & ~repeated
    theirs = torch.einsum("bd,bld->bl", queries, vectors[at])  # [B, L]
    return (there & (theirs >= scores[:, None])).sum(dim=1)


@torch.no_grad()
def validate(
    embed: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    vectors: Tensor,
    items: Tensor,
    device: torch.device,
    *,
    hide_history: bool,
    ranks: Ranks = ALONE,
) -> dict[str, float]:
    """recall@10 and recall@100 of the examples' clicks and their mean reciprocal place, over all ranks' examples.

    embed: the queries [B, D] of a batch; vectors [I, D] and items [I] as in `places`; hide_history: what is in a row's
    history is not shown again.
    """
    sums = torch.zeros(len(AT) + 2, dtype=torch.float64, device=device)
    for batch in batches:
        batch = {name: values.to(device) for name, values in batch.items()}
        seen = batch.get("history") if hide_history else None
        above = places(embed(batch), batch["item_index"], vectors, items, seen)  # [B]
        found = [(above < k).sum() for k in AT]
        sums += torch.stack([*found, (1 / (above + 1.0)).double().sum(), torch.tensor(len(above))]).to(sums)
    *recalls, reciprocal, rows = ranks.total(sums).tolist()
    measured = {f"recall@{k}": found / max(rows, 1) for k, found in zip(AT, recalls, strict=True)}
    return {**measured, "mrr": reciprocal / max(rows, 1), "rows": rows}
