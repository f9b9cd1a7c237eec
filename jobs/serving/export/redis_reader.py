"""Reads lists from Redis, where `export_candidates` has put them. Needs the client of Redis, and no Spark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def read_lists(client: Any, user_ids: Sequence[str], prefix: str = "recall") -> dict[str, dict[str, list[Any]]]:
    """The lists of these users, all of one publication, by user_id; users without a list are left out.

    A list has an array for each of item_id, score, source and channel_score, best item first. client: a redis.Redis
    with decode_responses=True. prefix: `export.prefix`.
    """
    version, newest = None, client.get(f"{prefix}:current")
    found: list[Any] = []
    while version != newest:  # again only if an export has switched meanwhile, and removed lists of the old version
        version = newest
        keys = [f"{prefix}:{version}:user:{user_id}" for user_id in user_ids]
        if "-hash-" in version:
            pipeline = client.pipeline()
            for key in keys:
                pipeline.hgetall(key)
            found = [
                fields and {name: json.loads(text) for name, text in fields.items()} for fields in pipeline.execute()
            ]
        else:
            found = [text and json.loads(text) for text in (client.mget(keys) if keys else [])]
        newest = version if all(found) else client.get(f"{prefix}:current")
    return {user_id: one for user_id, one in zip(user_ids, found, strict=False) if one}
