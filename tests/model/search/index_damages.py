"""What can be wrong with an index folder: each function damages a valid one."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model.artifacts.formats import INDEX
from tests.model.search.catalogues import build, catalogue


def rewrite(folder: Path, **fields: Any) -> None:
    manifest = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**manifest, **fields}))


def sign(folder: Path) -> None:
    """Make the manifest match the changed files, as an attacker could."""
    names = json.loads((folder / "index.json").read_text())["files"]
    rewrite(folder, files={name: INDEX.facts(folder / name) for name in names})


def truncate(name: str, n_bytes: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, n_bytes)


def flip(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-9] ^= 1
        (folder / name).write_bytes(content)

    return damage


def overwrite(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert content.count(old) == 1
        (folder / name).write_bytes(content.replace(old, new))

    return damage


def link(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return damage


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def from_another(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        backend = json.loads((folder / "index.json").read_text())["backend"]
        build(backend, *catalogue(seed=99)).save(folder.parent / "other")
        shutil.copy(folder.parent / "other" / name, folder / name)

    return damage


def signed(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    def both(folder: Path) -> None:
        damage(folder)
        sign(folder)

    return both


def array(name: str, value: Any) -> Callable[[Path], None]:
    return signed(lambda folder: np.save(folder / name, value, allow_pickle=True))


def fields(**values: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, **values)


def rename_in_manifest(name: str, other: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).rename(folder / other)
        files = json.loads((folder / "index.json").read_text())["files"]
        files[other] = files.pop(name)
        rewrite(folder, files=files)

    return damage


def text(content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "index.json").write_bytes(content.encode("latin-1"))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("exploded",))


def pickled(name: str) -> Callable[[Path], None]:
    return signed(lambda folder: (folder / name).write_bytes(pickle.dumps(Bomb())))
