"""Snapshots that the jobs of one run share: a table is opened again only after its log has changed."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from jobs.lake.integrity.delta_log import commit_name
from jobs.lake.integrity.detect import StoredTable
from jobs.lake.snapshots import Snapshot, local_path

Shared = dict[str, tuple[Hashable, Snapshot]]  # by path of the table, with the identity of its newest commit
SHARED: ContextVar[Shared | None] = ContextVar("snapshots of a run", default=None)


@contextmanager
def shared_snapshots() -> Iterator[None]:
    """Inside the block, lakes that open tables once share the newest snapshots of tables on a local or mounted disk."""
    token = SHARED.set({})
    try:
        yield
    finally:
        SHARED.reset(token)


def open_snapshot(stored: StoredTable, partition: str, version: int | None, shared: Shared | None) -> Snapshot | None:
    """`StoredTable.snapshot`; the newest version is that of `shared` if no commit has followed it."""
    if shared is None or version is not None or local_path(stored.path) is None:
        return stored.snapshot(partition, version)
    if stored.path in shared:
        identity, known = shared[stored.path]
        if _identity(stored.path, known.version) == identity and _identity(stored.path, known.version + 1) is None:
            return known
    snapshot = stored.snapshot(partition)
    if snapshot is not None and (identity := _identity(stored.path, snapshot.version)) is not None:
        shared[stored.path] = identity, snapshot
    return snapshot


def _identity(table: str, version: int) -> Hashable | None:
    """What changes with the contents of a commit's file; None if there is no such commit."""
    folder = local_path(table)
    assert folder is not None
    try:
        found = (folder / "_delta_log" / commit_name(version)).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
