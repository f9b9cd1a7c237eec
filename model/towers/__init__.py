"""The user tower and the item tower: features in, unit vectors out."""

from model.towers.two_towers import TwoTowers, drop_ids

__all__ = ["TwoTowers", "drop_ids"]
