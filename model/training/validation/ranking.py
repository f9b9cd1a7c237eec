"""How well the towers rank held-out clicks among all available items.

Axes: B examples, Q interests of a user, D embedding size, I available items, L length of a history, W items of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from model.training.loop import Batch
from model.training.processes.ranks import ALONE, Ranks
from model.training.validation.clicks import RankedClicks
from model.vocabulary import PADDING

BLOCK = 65_536  # items scored at once
USER = "user_index"  # the name of each row's user in a batch of held-out clicks
TIE = 1e-6  # of |query| |item|: products of the same float32 vectors differ by less, in whatever order they are summed


def ranks_of_positives(
    queries: Tensor, positives: Tensor, vectors: Tensor, items: Tensor, seen: Tensor | None
) -> Tensor:
    """The rank of each row's positive, from 0 (the best): [B] int64; I if the positive is not among the items.

    queries [B, D], or [B, Q, D], by which each item gets its best score; positives [B] item indices; items [I] item
    indices, ascending; vectors [I, D] of these items; seen [B, L]: items to leave out of the row's ranking, padded with
    0; the positive itself is never left out. Items with the same score as the positive rank above it: a model that
    scores all items alike must get a low recall.
    """
    positions = torch.searchsorted(items, positives).clamp(max=len(items) - 1)  # [B]
    own_vectors = vectors[positions]  # [B, D]
    scores = _best(queries, lambda interest: (interest * own_vectors).sum(dim=1))  # [B]
    norms = _best(queries, lambda interest: interest.norm(dim=1))  # [B]
    scores = scores - TIE * norms * own_vectors.norm(dim=1)  # what is as high is a tie
    ranks = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(items), BLOCK):
        block = vectors[start : start + BLOCK]  # [W, D]
        above = _best(queries, partial(F.linear, weight=block)) >= scores[:, None]  # [B, W]
        own = positions - start  # [B]
        inside = (own >= 0) & (own < above.shape[1])
        above[inside.nonzero()[:, 0], own[inside]] = False
        ranks += above.sum(dim=1)
    if seen is not None:
        ranks -= _seen_above(queries, positives, vectors, items, seen, scores)
    return torch.where(items[positions] == positives, ranks, len(items))


def _best(queries: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """The scores [B, ...] of queries [B, D]; for queries [B, Q, D] the largest of each row's interests."""
    if queries.dim() == 2:
        return score(queries)
    return reduce(torch.maximum, map(score, queries.unbind(dim=1)))  # in turn, which saves memory


def _seen_above(
    queries: Tensor, positives: Tensor, vectors: Tensor, items: Tensor, seen: Tensor, scores: Tensor
) -> Tensor:
    """How many distinct items of `seen` rank above the positive of each row: [B].

    scores [B]: of the positives, less the tolerance of a tie.
    """
    ordered = seen.sort(dim=1).values  # [B, L]
    repeated = torch.zeros_like(ordered, dtype=torch.bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    positions = torch.searchsorted(items, ordered).clamp(max=len(items) - 1)  # [B, L]
    counted = (items[positions] == ordered) & (ordered != PADDING) & (ordered != positives[:, None]) & ~repeated
    of_seen = vectors[positions]  # [B, L, D]
    seen_scores = _best(queries, lambda interest: torch.einsum("bd,bld->bl", interest, of_seen))  # [B, L]
    return (counted & (seen_scores >= scores[:, None])).sum(dim=1)


@torch.no_grad()
def ranked_clicks(
    embed: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    vectors: Tensor,
    items: Tensor,
    device: torch.device,
    *,
    hide_history: bool,
    ranks: Ranks = ALONE,
) -> RankedClicks:
    """The clicks of all ranks' batches with their ranks, the same on every rank; on the CPU.

    embed: a batch -> queries; queries, vectors [I, D] and items [I] as in `ranks_of_positives`; hide_history: whether
    the items of a row's history are left out of its ranking.
    """
    parts = [torch.empty(0, 2, dtype=torch.int64, device=device)]  # [B, 2] each
    for batch in batches:
        batch = {name: values.to(device) for name, values in batch.items()}
        seen = batch.get("history") if hide_history else None
        positions = ranks_of_positives(embed(batch), batch["item_index"], vectors, items, seen)  # [B]
        parts.append(torch.stack([positions, batch[USER]], dim=1))
    mine = torch.cat(parts)  # [clicks of this rank, 2]
    counts = ranks.counts(len(mine), device)
    joined = ranks.gather(mine, counts) if sum(counts) else mine  # [N, 2]
    return RankedClicks(joined[:, 0].cpu(), joined[:, 1].cpu())
