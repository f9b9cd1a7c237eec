"""Parts that are chosen by name: a built-in class by its short name, or any class as "package.module:Class"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Generic, TypeVar

Part = TypeVar("Part")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The nearest of the known names, as the end of a message; empty if none is similar."""
    nearest = get_close_matches(str(name), known, 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


class Registry(Generic[Part]):
    """Classes of one kind by name. A built-in one is imported when it is first asked for."""

    def __init__(self, kind: str, base: str, built_in: Mapping[str, str]) -> None:
        """kind: the configuration key that names a part, for messages.

        base: the class that every part must subclass; built_in: short name -> class. Classes are written
        "package.module:Class".
        """
        self.kind, self.base, self.built_in = kind, base, dict(built_in)

    def checked_name(self, name: str) -> str:
        """The name, unchanged; imports nothing. Raises ValueError unless it is built in or "package.module:Class"."""
        if name not in self.built_in and ":" not in name:
            names = f'one of {sorted(self.built_in)} or "package.module:Class"'
            raise ValueError(f"{self.kind} must be {names}, got {name!r}{did_you_mean(name, self.built_in)}")
        return name

    def get(self, name: str) -> type[Part]:
        """The class behind a name.

        Raises ValueError if the name is neither built in nor "package.module:Class", if the class cannot be imported,
        or if it is not a subclass of the base.
        """
        path = self.built_in.get(self.checked_name(name), name)
        found = self._imported(path)
        base = self._imported(self.base)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"{self.kind} {name!r} must be a subclass of {self.base}, got {found!r}")
        return found

    def _imported(self, path: str) -> type[Part]:
        module, _, name = path.partition(":")
        try:
            part: type[Part] = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"{self.kind} {path!r} cannot be imported: {error}") from error
        return part
