"""Reads an expression as Spark has analysed it: a tree of objects of the JVM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

SPECIAL_TIMES = "(now|today|tomorrow|yesterday)"  # words that Spark reads as a time
SPECIAL_TIME = re.compile(rf"\s*{SPECIAL_TIMES}\b", re.I)
CURRENT_CLASSES = ("Current", "Now", "LocalTimestamp")  # beginnings of the names of Spark's classes
TIME_TYPES = ("date", "timestamp", "timestamp_ntz")


def paths(expression: Any) -> Iterator[tuple[Any, ...]]:
    """Each node of an expression, after all nodes above it; what Spark computes once for several stands below each."""
    yield from _paths((expression,), {})


def nodes(expression: Any) -> Iterator[Any]:
    """Each node of an expression, from above."""
    yield from (path[-1] for path in paths(expression))


def children(node: Any) -> list[Any]:
    found = node.children()
    return [found.apply(number) for number in range(found.size())]


def class_name(node: Any) -> str:
    return str(node.getClass().getSimpleName())


def type_name(node: Any) -> str:
    return str(node.dataType().simpleString())


def is_current(node: Any) -> bool:
    """Whether a node is the current time or user, or a text such as 'now' that Spark's optimizer makes the time."""
    if class_name(node).startswith(CURRENT_CLASSES):
        return True
    if type_name(node) not in TIME_TYPES:
        return False
    constants = [child for child in children(node) if child.foldable() and type_name(child) == "string"]
    return any(SPECIAL_TIME.match(_text(part)) for constant in constants for part in nodes(constant))


def _text(node: Any) -> str:
    is_text = class_name(node) == "Literal" and type_name(node) == "string" and node.value() is not None
    return str(node.value().toString()) if is_text else ""


def _paths(path: tuple[Any, ...], shared: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    node, below = path[-1], children(path[-1])
    if class_name(node) == "CommonExpressionRef":
        yield from _paths((*path[:-1], shared[node.id().toString()]), shared)
        return
    if class_name(node) == "With":
        below, definitions = below[:1], below[1:]
        shared = {**shared, **{each.id().toString(): each.child() for each in definitions}}
    yield path
    for child in below:
        yield from _paths((*path, child), shared)
