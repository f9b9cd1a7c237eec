"""Fits the map of each channel's scores to probabilities, from how often items of a log share were clicked.

A map is isotonic: its points are groups of bins that have enough hits, pooled until none of them decreases. A channel
with few hits gets another map (its *base*), scaled to its own mean rate.
"""

# Axes: B bins of log shares, G groups of bins, C channels that are counted.
from __future__ import annotations

import numpy as np

from model.search.lists import SOURCES
from model.search.lists.calibration import CHANNELS, IDENTITY, LOWEST, Calibration, ScoreMap

LOWEST_BIN, BIN_WIDTH, BINS = -30.0, 0.05, 600  # of log shares
COUNTED = (*CHANNELS, "everyone")  # everyone: popular items as lists for all users, for a day with few cold users
TRIALS, HITS, SHARES = range(3)  # what is counted in each bin: candidates, clicked ones, and the sum of their shares
COUNTS_SHAPE = (len(COUNTED), 3, BINS)
MIN_GROUP_HITS, MIN_GROUPS = 20, 3
GROUPS_PER_ROOT = 2.0  # groups by the cube root of the hits: more of them fit noise, fewer hide the shape
PRIOR_HITS = 1.0  # hits, as the base predicts them, that are added to a channel with fewer hits than a group


def counts_of(shares: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Of candidates with these shares [...], of which `hits` bool [...] were clicked: float64 [3, B]."""
    logs = np.log(np.maximum(shares, np.exp(LOWEST)), dtype=np.float64)
    bins = np.clip((logs - LOWEST_BIN) / BIN_WIDTH, 0, BINS - 1).astype(np.int64).ravel()
    values = np.ones(bins.shape), hits.ravel(), shares.ravel()
    return np.stack([np.bincount(bins, weights=value, minlength=BINS) for value in values])


def fitted(counts: np.ndarray, temperature: float, list_length: int) -> Calibration:
    """The calibration of counts [C, 3, B] of the channels COUNTED. A channel without candidates gets its base."""
    by_name = dict(zip(COUNTED, counts, strict=True))
    towers = fitted_map(by_name["two_tower"], IDENTITY)
    maps = {name: towers if name == "two_tower" else fitted_map(by_name[name], towers) for name in SOURCES}
    everyone = fitted_map(by_name["everyone"], IDENTITY)
    maps["cold"] = fitted_map(by_name["cold"], everyone)
    return Calibration(temperature, list_length, tuple(maps[name] for name in CHANNELS))


def fitted_map(counts: np.ndarray, base: ScoreMap) -> ScoreMap:
    """The map of counts [3, B]; `base` scaled to their mean rate if the hits are too few for MIN_GROUPS groups."""
    counts = counts[:, counts[TRIALS] > 0]
    if not counts.size:
        return base
    starts = _group_starts(counts[HITS])
    if len(starts) < MIN_GROUPS:
        prior = PRIOR_HITS if counts[HITS].sum() < MIN_GROUP_HITS else 0.0
        return _scaled(base, (counts[HITS].sum() + prior) / (_predicted(base, counts) + prior))
    groups = np.add.reduceat(counts, starts, axis=1)  # [3, G]
    firsts = _pooled(groups[HITS] / groups[TRIALS], groups[TRIALS])
    blocks = np.add.reduceat(groups, firsts, axis=1)
    found = _through(
        _log_shares(blocks), np.log(blocks[HITS] / blocks[TRIALS]), falls_below=firsts[1:2].tolist() == [1]
    )
    return _scaled(found, counts[HITS].sum() / _predicted(found, counts))  # what is between points is interpolated


def _through(log_shares: np.ndarray, log_probs: np.ndarray, *, falls_below: bool) -> ScoreMap:
    """The map through points; falls_below: below the first one it falls as between the first two, at most as the share.

    The first group is wide, as hits are rare there. It is not known to fall if groups were pooled into its block.
    """
    if falls_below:
        slope = min(1.0, (log_probs[1] - log_probs[0]) / max(log_shares[1] - log_shares[0], BIN_WIDTH))
        log_probs = np.append(log_probs[0] - slope * (log_shares[0] - LOWEST), log_probs)
        log_shares = np.append(LOWEST, log_shares)
    return ScoreMap(tuple(log_shares.tolist()), tuple(log_probs.tolist()))


def _predicted(score_map: ScoreMap, counts: np.ndarray) -> float:
    """The hits that a map predicts for the candidates of counts [3, B]."""
    return float((counts[TRIALS] * score_map.probabilities(_log_shares(counts))).sum())


def _log_shares(counts: np.ndarray) -> np.ndarray:
    """The log of the mean share in each bin or group of counts [3 or more, B]: [B]."""
    logs: np.ndarray = np.log(np.maximum(counts[SHARES] / counts[TRIALS], np.exp(LOWEST)))
    return logs


def _group_starts(hits: np.ndarray) -> np.ndarray:
    """The first bin of each group [G], so that each group of the bins [B] has enough hits; at least one group."""
    target = max(MIN_GROUP_HITS, hits.sum() ** (2 / 3) / GROUPS_PER_ROOT)
    starts, inside = [], 0.0
    for number in range(len(hits) - 1, -1, -1):  # from the highest shares, where hits are dense
        inside += hits[number]
        if inside >= target:
            starts.append(number)
            inside = 0.0
    if inside < MIN_GROUP_HITS:  # too few for a group of their own
        starts = starts[:-1]
    return np.unique([0, *starts])


def _pooled(rates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The first group of each block, after neighbours [G] whose weighted mean rates decrease were joined."""
    blocks: list[tuple[float, float, int]] = []  # weighted sum of rates, weight, first group
    for number, (rate, weight) in enumerate(zip(rates.tolist(), weights.tolist(), strict=True)):
        total, first = rate * weight, number
        while blocks and blocks[-1][0] * weight >= total * blocks[-1][1]:
            before, before_weight, first = blocks.pop()
            total, weight = total + before, weight + before_weight
        blocks.append((total, weight, first))
    return np.array([first for _, _, first in blocks])


def _scaled(score_map: ScoreMap, factor: float) -> ScoreMap:
    """The map with probabilities multiplied by `factor`, at most 1."""
    shares, logs = np.array(score_map.log_shares), np.array(score_map.log_probs) + np.log(factor)
    above = int(np.searchsorted(logs, 0.0))  # the first point that reaches probability 1
    if above < len(logs):
        knee = np.interp(0.0, logs[above - 1 : above + 1], shares[above - 1 : above + 1]) if above else shares[0]
        shares, logs = np.append(shares[:above], knee), np.append(logs[:above], 0.0)
    return ScoreMap(tuple(shares.tolist()), tuple(logs.tolist()))
