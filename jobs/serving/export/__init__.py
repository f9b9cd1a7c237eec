"""Exports of a publication to where ranking looks up: a Redis server, or a folder of Parquet files or JSON lines.

Each export is a version beside the earlier ones (`versions.py`). Its lists are written first, from file to file of the
table candidates, and the target records how far it is. Then one write makes readers follow it. A target is a class with
the methods of `exporting.Target`: `redis_target.py` (with `redis_writer.py` on executors) and `folder_target.py`. The
user tower and the vectors of the items are exported into a folder of versions too (`online.py`).
"""
