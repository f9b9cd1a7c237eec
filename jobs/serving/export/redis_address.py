"""The address of a Redis server, and its credentials, which no message shows.

A password with characters such as `/` that are not escaped moves the end of the host, so parts of it could be taken
for a host, a port or a path. Therefore an address that is refused is not shown at all.
"""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

SCHEMES = ("redis", "rediss")  # the second is with TLS
USERNAME, PASSWORD = "BATCH_RECALL_REDIS_USERNAME", "BATCH_RECALL_REDIS_PASSWORD"  # variables of the environment


def checked_address(uri: str) -> tuple[str, str]:
    """The URI with the credentials of the environment, if it has none, and the URI without any.

    Raises ValueError, which shows nothing of the URI.
    """
    parts = _parts(uri)
    if parts is None:
        raise ValueError(
            "the address of Redis must be redis://[USER:PASSWORD@]HOST[:PORT][/DB] or rediss://..., with a port from 0 "
            "to 65535, got another one, which is not shown because it may have a password. Escape special characters "
            f"of the password (/ as %2F, # as %23, ? as %3F, @ as %40), or give it in {PASSWORD}"
        )
    host = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{host}{parts.path}"
    if not parts.password and PASSWORD in os.environ:
        user = quote(parts.username or os.environ.get(USERNAME, ""), safe="")
        parts = parts._replace(netloc=f"{user}:{quote(os.environ[PASSWORD], safe='')}@{host}")
    return urlunsplit(parts), shown


def _parts(uri: str) -> SplitResult | None:
    """The parts of an address; None if it is none."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:  # its text has parts of the address
        return None
    is_whole = parts.scheme in SCHEMES and parts.hostname and re.fullmatch(r"(/\d*)?", parts.path)
    has_more = parts.fragment or "@" in parts.query or parts.netloc.count("@") > 1
    return parts if is_whole and not has_more else None
