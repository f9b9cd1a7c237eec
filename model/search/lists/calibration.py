"""One scale for the scores of all channels: the probability that a click of the user is on the item.

The score of a channel has a meaning only within the channel, and another one with each model. It is first turned into a
*log share*, which has the same scale for every model: the log of the item's share of the softmax over the best items of
the user's two-tower search, at the model's temperature. For a user without a click it is the log of the item's share of
the clicks. A `ScoreMap` for each channel then gives the probability. Training fits it on held-out clicks
(`model.training.validation.score_maps`).
"""

# Axes: N users, K candidates, W results of a search, P points of a map.
from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from model.search.lists import SOURCES

COLD = len(SOURCES)  # the channel of users without a click; its source is `popular`
CHANNELS = (*SOURCES, "cold")
LOWEST = -60.0  # of a log share


@dataclass(frozen=True)
class ScoreMap:
    """A non-decreasing function of the log share, linear between points: log_shares [P], log_probs [P].

    Below the first point and above the last one it is constant.
    """

    log_shares: tuple[float, ...]
    log_probs: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises ValueError unless the points are finite and in order, and no log probability is above 0."""
        points = [*zip(self.log_shares, self.log_probs, strict=True)]
        is_finite = all(map(math.isfinite, (*self.log_shares, *self.log_probs)))
        ascends = all(first <= second for values in zip(*points, strict=True) for first, second in pairwise(values))
        if not (points and is_finite and ascends and max(self.log_probs) <= 0):
            raise ValueError(f"a score map must have finite points in ascending order, got {points}")

    def probabilities(self, log_shares: np.ndarray) -> np.ndarray:
        """Log shares [...] -> probabilities float32 [...]."""
        probs: np.ndarray = np.exp(np.interp(log_shares, self.log_shares, self.log_probs).astype(np.float32))
        return probs


IDENTITY = ScoreMap((LOWEST, 0.0), (LOWEST, 0.0))  # the share itself, not calibrated


@dataclass(frozen=True)
class Calibration:
    """The map of each of CHANNELS, and how log shares are computed: by which temperature, over how many items."""

    temperature: float = 1.0
    list_length: int = 100
    maps: tuple[ScoreMap, ...] = (IDENTITY,) * len(CHANNELS)

    @property
    def is_fitted(self) -> bool:
        """Whether scores are probabilities that were fitted on clicks; otherwise they are shares."""
        return any(score_map != IDENTITY for score_map in self.maps)

    @property
    def digest(self) -> str:
        """A hash of everything that the scores depend on."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def log_totals(self, found: np.ndarray) -> np.ndarray:
        """The log of the sum of the softmax, float32 [N], over the first `list_length` results of a search [N, W]."""
        logits = found[:, : self.list_length] / np.float32(self.temperature)
        largest = np.maximum(logits.max(axis=1, initial=-np.inf), np.finfo(np.float32).min)  # finite without a result
        sums = np.exp(logits - largest[:, None]).sum(axis=1)
        totals: np.ndarray = largest + np.log(np.maximum(sums, np.finfo(np.float32).tiny))
        return totals

    def warm_scores(self, channel_scores: np.ndarray, sources: np.ndarray, log_totals: np.ndarray) -> np.ndarray:
        """The scores, float32 [N, K], of users with a click; -inf where there is no item.

        channel_scores float32 [N, K], -inf where there is no item; sources [N, K]; log_totals [N].
        """
        log_shares = channel_scores / np.float32(self.temperature) - log_totals[:, None]
        scores = self.maps[0].probabilities(log_shares)
        for source in range(1, len(SOURCES)):
            if (chosen := sources == source).any():
                scores[chosen] = self.maps[source].probabilities(log_shares[chosen])
        scores[np.isneginf(channel_scores)] = -np.inf
        return scores

    def cold_scores(self, shares: np.ndarray) -> np.ndarray:
        """The scores, float32 [N, K], of users without a click, from shares of the clicks; -inf for -inf."""
        log_shares = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
        return np.where(np.isfinite(shares), self.maps[COLD].probabilities(log_shares), np.float32(-np.inf))

    def to_json(self) -> dict[str, Any]:
        """Values that `json.dumps` accepts; the points of each map are pairs of a log share and a log probability."""
        pairs = (list(zip(m.log_shares, m.log_probs, strict=True)) for m in self.maps)
        points = {channel: [list(pair) for pair in found] for channel, found in zip(CHANNELS, pairs, strict=True)}
        return {"temperature": self.temperature, "list_length": self.list_length, "maps": points}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """What `to_json` returned. Raises ValueError if it is none."""
        try:
            temperature, length = float(values["temperature"]), int(values["list_length"])
            found = {"neighbours": values["maps"]["two_tower"], **values["maps"]}  # older models lack that channel
            pairs = [[(float(share), float(prob)) for share, prob in found[name]] for name in CHANNELS]
        except (LookupError, TypeError) as error:
            raise ValueError(f"a calibration must have a temperature, a list length and maps, got {error!r}") from error
        if not (0 < temperature < math.inf and length > 0):
            raise ValueError(f"a calibration must have a temperature and a length above 0, got {temperature, length}")
        maps = (ScoreMap(tuple(s for s, _ in points), tuple(p for _, p in points)) for points in pairs)
        return cls(temperature, length, tuple(maps))
