"""Processor time of this process, Spark's JVM and its Python workers, which other programs change less than seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")  # per second


class Process(NamedTuple):
    """id, name, id of the parent, and processor seconds with those of ended children."""

    id: int
    name: str
    parent: int
    seconds: float


class ProcessorTime(NamedTuple):
    """Seconds of this process, and of those that it has started, directly or not, and has not waited for."""

    own: float
    jvm: float
    workers: float

    @property
    def total(self) -> float:
        return sum(self)

    def since(self, earlier: ProcessorTime) -> ProcessorTime:
        return ProcessorTime(*(now - then for now, then in zip(self, earlier, strict=True)))


def processor_time() -> ProcessorTime:
    """The seconds so far (Linux). Those of ended processes count with the process that started them."""
    seconds = {True: 0.0, False: 0.0}
    for process in descendants():
        seconds[process.name == "java"] += process.seconds
    return ProcessorTime(time.process_time(), seconds[True], seconds[False])


def descendants() -> list[Process]:
    """The processes that this one has started, directly or not (Linux)."""
    found = {process.id: process for process in _processes()}

    def is_descendant(number: int) -> bool:
        parent = found[number].parent
        return parent == os.getpid() or (parent in found and is_descendant(parent))

    return [process for process in found.values() if is_descendant(process.id)]


def _processes() -> Iterator[Process]:
    """All processes of the machine."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text("utf-8")
        except OSError:  # it has ended
            continue
        fields = text[text.rindex(")") + 2 :].split()
        seconds = sum(map(int, fields[11:15])) / TICKS
        yield Process(int(folder.name), text[text.index("(") + 1 : text.rindex(")")], int(fields[1]), seconds)
