"""Exports the publication that readers follow: write its lists, switch to them, remove old ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from jobs.config.outputs import Export
from jobs.lake.lake import Lake
from jobs.serving.export.folder_target import FORMATS as FOLDER_FORMATS
from jobs.serving.export.folder_target import FolderTarget
from jobs.serving.export.redis_address import SCHEMES
from jobs.serving.export.redis_target import FORMATS as REDIS_FORMATS
from jobs.serving.export.redis_target import RedisTarget
from jobs.serving.export.versions import Version, version_to_export
from jobs.serving.publications import were_users_forgotten
from model.training.processes.lines import say

# Schemes of file systems that Hadoop has connectors for; "": a path.
FOLDER_SCHEMES = ("", "file", "hdfs", "viewfs", "s3", "s3a", "abfs", "abfss", "wasb", "wasbs", "gs", "oss", "cosn")


class Target(Protocol):
    """Where exports are put. Each method may be interrupted at any moment, and is then called again."""

    shown: str  # the address, without credentials

    def begin(self, version: Version) -> tuple[Version, bool]:
        """Enter a version; returns it with the name that it has there, and whether all of its lists are there."""

    def write(self, lake: Lake, version: Version) -> None:
        """Write the lists that are not there yet."""

    def switch(self, version: Version) -> bool:
        """Make readers follow the version; returns whether they followed another one before."""

    def remove_old(self, version: Version, kept: int, is_stale: Callable[[int], bool]) -> int:
        """Remove other versions, but the newest ones of `kept` in all; returns how many were removed."""


def open_target(lake: Lake, settings: Export) -> tuple[Target, str]:
    """The target, and the format of its lists.

    Raises ValueError for an address that is neither of Redis nor of a folder, or a format that its target lacks.
    """
    to, scheme = settings.target, _scheme(settings.target)
    if scheme not in (*SCHEMES, *FOLDER_SCHEMES) or not to:
        raise ValueError(
            "--to or export.target must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or a folder, got "
            f"{f'{scheme}://...' if scheme else 'an address without redis://' if to else 'nothing'}"
        )
    formats = REDIS_FORMATS if scheme in SCHEMES else FOLDER_FORMATS
    format_ = formats[0] if settings.format == "auto" else settings.format
    if format_ not in formats:
        raise ValueError(f"--format or export.format must be {' or '.join(formats)} for this target, got {format_}")
    if scheme in SCHEMES:
        return RedisTarget(to, settings.prefix, settings.batch_users, settings.ttl_hours), format_
    if settings.ttl_hours:
        raise ValueError(f"--ttl-hours or export.ttl_hours must be 0 for a folder, got {settings.ttl_hours}")
    return FolderTarget(to, lambda: lake.spark), format_


def _scheme(target: str) -> str | None:
    """The scheme of an address, "" for a path; None for a host with a port, or a password, without a scheme."""
    if (found := re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/", target)) is not None:
        return found[1].lower()
    return None if ":" in target.partition("/")[0] else ""


def export(lake: Lake, target: Target, format_: str, kept: int) -> int:
    """Export the publication that readers follow now; returns its number of users.

    Writes nothing if it is there already, and only the pointer if its lists are. kept: versions that stay there.
    Raises what `version_to_export` and the methods of the target raise; readers then have what they had before.
    """
    version, is_complete = target.begin(version_to_export(lake, format_))
    if not is_complete:
        target.write(lake, version)
    is_new = target.switch(version)
    what = f"publication {version.publication} of {version.ds} ({version.name})"
    lists = "were there already" if is_complete else "are written"
    done = f"its lists {lists}, and readers follow them now" if is_new else "readers follow its lists already"
    say(f"{what} in {target.shown}: {done}")
    if removed := target.remove_old(version, kept, lambda number: were_users_forgotten(lake, number)):
        say(f"earlier exports that were removed from {target.shown}: {removed}")
    return version.users
