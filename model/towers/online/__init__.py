"""The user tower without the lake and without Spark: for services that embed a user between two days.

A folder has the tower as an exported program, its vocabularies and the vectors of the items (`folder.py`);
`online_model.py` reads it.
"""

from model.towers.online.online_model import OnlineModel, User

__all__ = ["OnlineModel", "User"]
