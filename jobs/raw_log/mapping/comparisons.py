"""Texts that an expression compares with whole numbers: Spark reads them as whole numbers, and fails on 2.5."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyspark.sql.types import ByteType, IntegerType, LongType, ShortType, StringType

from jobs.raw_log.mapping.catalyst import children, class_name, paths, type_name

COMPARISONS = {"EqualTo", "EqualNullSafe", "GreaterThan", "GreaterThanOrEqual", "LessThan", "LessThanOrEqual", "In"}
TOKEN = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`]|``)*`(?!\s*\.)|(?<![.\w])[A-Za-z_]\w*\b(?!\s*[(.])"""
)
INTEGERS = tuple(kind().simpleString() for kind in (ByteType, ShortType, IntegerType, LongType))
WHOLE_DECIMAL = re.compile(r"decimal\((\d+),0\)")
LARGEST, EXACT_DIGITS = 2**53, 15  # whole numbers up to this one, or of so many digits, are exact as a double
# How a column of text is used. WHOLE: compared with whole numbers that a double holds; ROUNDED: with larger ones.
WHOLE, ROUNDED, NUMBER, TEXT = "whole", "rounded", "number", "text"


def with_numbers(key: str, text: str, found: Any, analysed: Callable[[str], Any]) -> str:
    """`text`, in which columns of text are read as doubles where they are compared with whole numbers.

    found: the analysed expression; analysed: gives that of another text, or raises ValueError. Raises ValueError if a
    column is a number in such a comparison and its text is used as well, or if a double does not hold the number.
    """
    uses, original = _uses(found), text
    for token in reversed(list(TOKEN.finditer(text))):
        name = _name(token[0])
        if not uses[name, WHOLE]:
            continue
        candidate = f"{text[: token.start()]}double({token[0]}){text[token.end() :]}"
        try:
            after = _uses(analysed(candidate))
        except ValueError:
            continue
        if after[name, WHOLE] < uses[name, WHOLE] and after[name, TEXT] == uses[name, TEXT]:
            text, uses = candidate, after
    for (name, use), count in uses.items():
        if count and use in (WHOLE, ROUNDED):
            written = next(token[0] for token in TOKEN.finditer(original) if _name(token[0]) == name)
            number = f"double({written})" if use == WHOLE else f"cast({written} as decimal(38, 0))"
            raise ValueError(
                f"{key} must say whether the text {written}, which it compares with a whole number, is a number: write "
                f"{number} if it is one, or the number in quotes if it is none, got {original!r}"
            )
    return text


def _name(token: str) -> str:
    return token[1:-1].replace("``", "`").lower() if token.startswith("`") else token.lower()


def _uses(expression: Any) -> Counter[tuple[str, str]]:
    """How often each column of text, in small letters, is used in which way."""
    return Counter(
        (column.name().lower(), _use(above))
        for *above, column in paths(expression)
        if class_name(column) == "AttributeReference" and type_name(column) == StringType().simpleString()
    )


def _use(above: list[Any]) -> str:
    """The use of a column by the nodes above it."""
    if len(above) < 2 or class_name(above[-1]) != "Cast":
        return TEXT
    parent, cast = above[-2:]
    kind, is_own = type_name(cast), not cast.origin().equals(parent.origin())  # Spark's casts stand where they arise
    if is_own or class_name(parent) not in COMPARISONS:
        return NUMBER if kind == "double" else TEXT
    others = list(map(_without_casts, children(parent)))
    if kind == "double":
        return ROUNDED if any(map(_is_long_decimal, others)) else NUMBER
    return WHOLE if kind in INTEGERS and all(map(_is_exact, others)) else TEXT


def _without_casts(operand: Any) -> Any:
    while class_name(operand) == "Cast":
        operand = operand.child()
    return operand


def _is_long_decimal(operand: Any) -> bool:
    digits = WHOLE_DECIMAL.fullmatch(type_name(operand))
    return digits is not None and int(digits[1]) > EXACT_DIGITS


def _is_exact(operand: Any) -> bool:
    """Whether a double holds each value of an operand; those that it may not hold are compared as whole numbers."""
    if type_name(operand) != LongType().simpleString():
        return True
    return class_name(operand) == "Literal" and abs(int(operand.value() or 0)) <= LARGEST
