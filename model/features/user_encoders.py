"""The encoders of a user's list of items by their names in the configuration. This module does not import torch."""

from __future__ import annotations

from typing import Any

from model.registry import Registry

ONE_VECTOR = ("mean", "recency")  # built-in encoders that cannot make several interests
USER_ENCODERS: Registry[Any] = Registry(
    kind="model.user_encoder",
    base="model.towers.user_encoders:UserEncoder",
    built_in={
        "mean": "model.towers.user_encoders:Mean",
        "recency": "model.towers.user_encoders:Recency",
        "attention": "model.towers.attention:Attention",
    },
)
