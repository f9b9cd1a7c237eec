"""Folders that are there whole or not at all, and the sums of what is in them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ABANDONED = 86_400  # seconds: whoever wrote a draft that old was killed


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A draft to write files into; at the end of the block it is flushed and takes the place of `folder`.

    Killed at any moment, `folder` is absent or whole. What a kill leaves beside it starts with a dot, and a later
    writer of the same name removes it once it is a day old. An error inside the block leaves nothing. Raises OSError
    that names the folder where its disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.draft")
    draft.mkdir()
    try:
        yield draft
        for path in (*draft.iterdir(), draft):
            flush(path)
        _show(draft, folder)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error):  # the latter of safetensors
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _show(draft: Path, folder: Path) -> None:
    """Renames the draft; an older folder steps aside first, and back if the rename fails."""
    aside = draft.with_suffix(".old")  # deleted in its place, half of it could be seen
    if folder.exists():
        os.rename(folder, aside)
    try:
        os.rename(draft, folder)
    except BaseException:
        if aside.exists():
            os.rename(aside, folder)
        raise
    flush(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    for kind in ("draft", "old"):
        for left in folder.parent.glob(f".{folder.name}.*.{kind}"):
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def flush(path: Path) -> None:
    """To the disk, be it a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
