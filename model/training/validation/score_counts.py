"""How often candidates of each channel were clicked, by their share, in the lists of users with held-out clicks.

The lists are those that scoring would make, without its approximate index, segments and cap on categories.
"""

# Axes: B clicks of a batch, K candidates, L length of a history, I available items, D dimensions, C counted channels.
from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.features.ragged import Ragged, rows_of
from model.search.exact_index import ExactIndex
from model.search.lists import SOURCES
from model.search.lists.calibration import Calibration
from model.search.lists.candidate_lists import MAX_WIDTH_FACTOR, CandidateLists, Lists, Quotas
from model.search.lists.neighbours import ItemNeighbours
from model.search.lists.popular import ALL_USERS, PopularItems
from model.training.validation.score_maps import counts_of
from model.vocabulary import NO_ITEM, PADDING

DEFAULT_QUOTA = 0.1  # of a list, for a channel that has no quota
VERSION = "held-out"  # an index must name a model version


class HeldOutLists:
    """Makes the lists of users with held-out clicks, and counts their candidates."""

    def __init__(
        self,
        items: np.ndarray,
        vectors: np.ndarray,
        shares: np.ndarray,
        by_features: np.ndarray,
        quotas: Quotas,
        temperature: float,
        neighbours: ItemNeighbours | None = None,
    ) -> None:
        """items int64 [I], ascending: those that may be shown; vectors float32 [I, D]; shares float [I]: of the clicks.

        by_features float32 [items without a click, D]: their vectors by features alone, in the order of `items`.
        """
        most_clicked = np.argsort(-shares, kind="stable")[: MAX_WIDTH_FACTOR * quotas.k]
        listed = shares[most_clicked]
        popular = PopularItems(
            np.full(len(most_clicked), ALL_USERS),
            items[most_clicked],
            (listed / max(listed.sum(), np.finfo(np.float32).tiny)).astype(np.float32),  # as in the table popular_items
        )
        explored = items[shares == 0]
        self.lists = CandidateLists(
            ExactIndex.build(vectors, items, model_version=VERSION),
            popular,
            _with_all_channels(quotas),
            ExactIndex.build(by_features, explored, model_version=VERSION) if len(explored) else None,
            calibration=Calibration(temperature, quotas.k),
            neighbours=neighbours,
        )

    def counts(
        self, queries: np.ndarray, clicked: np.ndarray, history: np.ndarray, *, hide_history: bool
    ) -> np.ndarray:
        """Counts float64 [C, 3, bins] of the clicks on items `clicked` int64 [B] of users with queries float32 [B, D].

        queries can be [B, Q, D], with Q interests of a user. history int64 [B, L], padded with 0; L is 0 if it is not
        known. hide_history: whether its items are left out of the lists; clicks on such items are then not counted.
        """
        known = history != PADDING  # [B, L]
        if hide_history:
            listed = ~(history == clicked[:, None]).any(axis=1)  # [B]
            queries, clicked, history, known = (array[listed] for array in (queries, clicked, history, known))
        cold = ~known.any(axis=1) if history.shape[1] else np.zeros(len(clicked), dtype=bool)  # [B]
        warm = np.flatnonzero(~cold)
        hidden = known if hide_history else np.zeros_like(known)
        excluded, clicks = (Ragged(history[of], np.append(0, np.cumsum(of.sum(axis=1)))) for of in (hidden, known))
        segments = np.full(len(clicked), ALL_USERS, dtype=np.int64)
        found = self.lists.lists_for(
            queries[warm], rows_of(excluded, warm), cold[warm], segments[warm], rows_of(clicks, warm)
        )
        everyone = np.ones_like(cold)
        popular = self.lists.lists_for(queries, excluded, everyone, segments)
        popular = Lists(*(array[:, : self.lists.calibration.list_length] for array in popular))
        by_channel = [_counts(found, clicked[warm], found.sources == n) for n in range(len(SOURCES))]
        return np.stack([*by_channel, *(_counts(popular, clicked, users[:, None]) for users in (cold, everyone))])


def _with_all_channels(quotas: Quotas) -> Quotas:
    """The quotas, and one for each channel that has none, in lists that are longer by it."""
    some = max(1, round(DEFAULT_QUOTA * quotas.k))
    popular, explore = quotas.popular or some, quotas.explore or some
    longer = popular + explore - quotas.popular - quotas.explore
    return replace(quotas, k=quotas.k + longer, popular=popular, explore=explore)


def _counts(lists: Lists, clicked: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Counts [3, bins] of the candidates of lists [B, K] that `chosen` [B, K] or [B, 1] selects."""
    selected = (lists.items != NO_ITEM) & chosen
    hits = lists.items == clicked[:, None]
    return counts_of(lists.scores[selected], hits[selected])
