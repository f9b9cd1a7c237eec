"""Addresses of export targets: which are refused, and that no message shows a part of a password."""

from __future__ import annotations

import pytest

from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.serving.export.exporting import open_target
from jobs.serving.export.folder_target import FolderTarget
from jobs.serving.export.redis_address import checked_address
from jobs.serving.export.redis_target import RedisTarget
from tests.no_session import no_session

LEFT, RIGHT = "Tr0ub4dor", "4711and3"  # a password with a special character between its parts


def opened(target: str) -> object:
    return open_target(Lake(no_session, "lake"), load_config().export.model_copy(update={"target": target}))[0]


@pytest.mark.parametrize(
    "uri",
    [
        "redis://",
        f"redis://me:{LEFT}{RIGHT}@host/first",
        f"redis://me:{LEFT}{RIGHT}@host:99999/0",
        f"redis://:{LEFT}/{RIGHT}@host:6379/0",
        f"redis://:{LEFT}#{RIGHT}@host:6379/0",
        f"redis://me:{LEFT}?{RIGHT}@host:6379/0",
        f"redis://me:{LEFT}@{RIGHT}@host:6379/0",
        f"redis://me:{LEFT}\u2100{RIGHT}@host:6379/0",
        f"redis://me:{LEFT}[{RIGHT}@host:6379/0",
        "rediss://me:4711/4711and3@host/0",
        "redis://me:4711?4711and3@host/0",
        "redis://me:4711#4711and3@host/0",
        f"redis:me:{LEFT}@host",
        f"redis:/me:{LEFT}@host",
        f"me:{LEFT}@host:6379/0",
        f":{LEFT}@host:6379/0",
        "host:6379/0",
        "127.0.0.1:6379/0",
    ],
)
def test_a_wrong_address_is_refused_and_nothing_of_it_is_shown(uri: str) -> None:
    with pytest.raises(ValueError, match=r"must be redis://") as refused:
        opened(uri)
    assert refused.value.__cause__ is None
    shown = str(refused.value)
    assert not [part for part in (LEFT, RIGHT, "4711", "host", "127", "me:") if part in shown]


def test_the_message_says_how_a_password_is_escaped() -> None:
    with pytest.raises(ValueError, match=r"/ as %2F.*or give it in BATCH_RECALL_REDIS_PASSWORD"):
        checked_address(f"redis://:{LEFT}/{RIGHT}@host:6379/0")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("redis://host", "redis://host"),
        ("rediss://me:a%2Fb@host:6380/3", "rediss://host:6380/3"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("rediss://host/0?ssl_cert_reqs=none", "rediss://host/0"),
    ],
)
def test_a_right_address_is_shown_without_its_credentials(uri: str, shown: str) -> None:
    assert checked_address(uri) == (uri, shown)
    assert isinstance(opened(uri), RedisTarget)


@pytest.mark.parametrize("uri", ["lists", "/data/a:b", "./a:b/c", "file:/data", "s3a://bucket/lists", "a/b:c"])
def test_a_folder_is_a_folder(uri: str) -> None:
    assert isinstance(opened(uri), FolderTarget)
