"""Parts by name: built in, or any class that Python can import."""

from __future__ import annotations

import pytest

from model.registry import Registry

SHAPES: Registry[object] = Registry("shape", "collections:OrderedDict", {"ordered": "collections:OrderedDict"})


def test_a_built_in_name_gives_its_class() -> None:
    assert SHAPES.get("ordered").__name__ == "OrderedDict"


def test_a_path_gives_the_class_behind_it() -> None:
    assert SHAPES.get("collections:OrderedDict") is SHAPES.get("ordered")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown", r"shape must be one of \['ordered'\] or .*, got 'unknown'"),
        ("no_such_package.module:Class", "cannot be imported"),
        ("collections:NoSuchClass", "cannot be imported"),
        (":Class", "cannot be imported"),
        ("collections:Counter", "must be a subclass of collections:OrderedDict"),
        ("math:pi", "must be a subclass"),
    ],
)
def test_what_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SHAPES.get(name)
