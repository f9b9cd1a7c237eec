"""Embeds users and finds the items nearest to them, from the folder that `export_user_tower` wrote.

Needs torch, NumPy and pyarrow; no Spark, no lake. Axes: B users, Q interests of a user, D dimensions, I items.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.artifacts.formats import OnlineModelCorrupt
from model.towers.online.folder import read_online_model
from model.towers.online.inputs import GAPS

POINTER = "current.json"
USER_ID = "user_id"  # the only feature that is an id
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class User:
    """What a service knows of a user. An id that the model does not know is out of vocabulary, and so is None.

    history: item ids, oldest first. features: raw values, as in the log, of the other features; others are missing.
    clicked_at: when each item of the history was clicked, with a time zone, None where it is not known; empty: of none.
    """

    user_id: str | None = None
    history: Sequence[str] = ()
    features: Mapping[str, Any] = field(default_factory=dict)
    clicked_at: Sequence[dt.datetime | None] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for ids that are no text, lists, mappings or times that are none, or too few times."""
        if not isinstance(self.user_id, (str, type(None))):
            raise ValueError(f"user_id must be text, got {self.user_id!r}")
        if isinstance(self.history, (str, bytes)) or not isinstance(self.history, Sequence):
            raise ValueError(f"history must be a list of item ids, oldest first, got {self.history!r}")
        _require_ids("history", self.history)
        if not isinstance(self.features, Mapping):
            raise ValueError(f"features must be values by name, got {self.features!r}")
        if len(self.clicked_at) not in (0, len(self.history)):
            raise ValueError(f"clicked_at must have {len(self.history)} times, got {len(self.clicked_at)}")
        for time in self.clicked_at:
            if time is not None:
                _require_time("clicked_at", time)


class OnlineModel:
    """The user tower and the item vectors of one publication."""

    def __init__(self, folder: Path | str, root: Path | None = None) -> None:
        """folder: one version; root: the folder whose pointer named it. Raises OnlineModelCorrupt."""
        self.version, self._root = Path(folder).name, root
        contents = read_online_model(Path(folder))
        self.manifest, self.inputs = contents.manifest, contents.inputs
        self.items, self.vectors = contents.items, contents.vectors  # float32 [I, D], memory-mapped
        self._program, self._vocabularies = contents.program, contents.vocabularies
        self._gaps = [one.feature for one in self.inputs if one.kind == GAPS]  # of the history: one name or none
        self._known = {one.feature for one in self.inputs} - {USER_ID, self.manifest["history"], *self._gaps}

    @classmethod
    def current(cls, root: Path | str) -> OnlineModel:
        """The version that readers of a folder follow. Raises OnlineModelCorrupt if there is none, or it is damaged."""
        root, version = Path(root), _followed(Path(root))
        while True:
            try:
                return cls(root / version, root)
            except OnlineModelCorrupt:  # or an export has removed it since
                if (newer := _followed(root)) == version:
                    raise
                version = newer

    def refreshed(self) -> OnlineModel:
        """The version that readers follow now; this object if that has not changed, or if it was opened by itself."""
        root = self._root
        return self if root is None or _followed(root) == self.version else OnlineModel.current(root)

    def embed(self, users: Sequence[User], at: dt.datetime | None = None) -> np.ndarray:
        """The vectors of users, float32 [B, Q, D], of norm 1. Raises ValueError for a value of another type.

        at: from when on the model counts how long ago clicks were, if it reads that; None: now.
        """
        if at is not None:
            _require_time("at", at)
        if not users:
            return np.empty((0, self.manifest["interests"], self.manifest["dimension"]), np.float32)
        columns = [self._values(user, at or dt.datetime.now(dt.UTC)) for user in users]
        tensors = [
            one.tensor([values.get(one.feature) for values in columns], self._vocabularies.get(one.vocabulary or ""))
            for one in self.inputs
        ]
        with torch.no_grad():
            vectors: np.ndarray = self._program(*tensors).numpy()
        return vectors.reshape(len(users), -1, vectors.shape[-1])

    def nearest(
        self, user: User, k: int, excluded: Iterable[str] = (), at: dt.datetime | None = None
    ) -> list[tuple[str, float]]:
        """The k items with the highest dot product with the user's vector, or with the nearest of several.

        (item_id, dot product), best first, equal ones by item_id; without the history and `excluded`. Compares all
        items. at: as for `embed`. Raises ValueError for k < 1, an excluded id that is no text, and what `embed` raises.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be an integer of at least 1, got {k!r}")
        if isinstance(excluded, str):
            raise ValueError(f"excluded must be several item ids, got {excluded!r}")
        excluded = list(excluded)
        _require_ids("excluded", excluded)
        interests = self.embed([user], at)[0]  # [Q, D]
        scores = (interests @ self.vectors.T).max(axis=0)  # [I]
        scores[self._positions({*user.history, *excluded})] = -np.inf
        best = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
        best = best[np.lexsort((best, -scores[best]))]
        return [(self.items[position], float(scores[position])) for position in best if np.isfinite(scores[position])]

    def _positions(self, item_ids: set[str]) -> list[int]:
        positions = (self.items.position(item_id) for item_id in item_ids)
        return [position for position in positions if position is not None]

    def _values(self, user: User, at: dt.datetime) -> dict[str, Any]:
        """The raw values of all inputs."""
        if unknown := sorted(map(str, set(user.features) - self._known)):
            raise ValueError(f"features must be among {sorted(self._known)}, got {unknown}")
        clicks = {history: user.history} if (history := self.manifest["history"]) else {}
        times = user.clicked_at or [None] * len(user.history)
        gaps = [None if time is None else _minute(at) - _minute(time) for time in times]
        return {**user.features, USER_ID: user.user_id, **clicks, **dict.fromkeys(self._gaps, gaps)}


def _minute(time: dt.datetime) -> int:
    """Whole minutes since 1970-01-01 UTC, as the tables have them."""
    return (time - EPOCH) // dt.timedelta(minutes=1)


def _require_time(name: str, time: object) -> None:
    if not isinstance(time, dt.datetime) or time.tzinfo is None:
        raise ValueError(f"{name} must be a datetime with a time zone, got {time!r:.100}")


def _require_ids(name: str, item_ids: Sequence[object]) -> None:
    for item_id in item_ids:
        if not isinstance(item_id, str):
            raise ValueError(f"{name} must have item ids as text, got {item_id!r:.100}")


def _followed(root: Path) -> str:
    """The version that the pointer of a folder names. Raises OnlineModelCorrupt."""
    try:
        return str(json.loads((root / POINTER).read_text("utf-8"))["version"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise OnlineModelCorrupt(f"{root / POINTER} must name a version, got {error}") from error
