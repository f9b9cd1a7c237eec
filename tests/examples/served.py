"""The example that serves nearest items, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.request import Request, urlopen

from tests.examples.scripts import EXAMPLES, VARIABLES


@contextmanager
def served(folder: Path, *more: str) -> Iterator[tuple[str, IO[str]]]:
    """The address of the running example, and what it prints afterwards."""
    command = [sys.executable, EXAMPLES / "serve_nearest_items.py", folder, "--port", "0", *more]
    with subprocess.Popen(command, env=VARIABLES, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip(), server.stdout  # once it serves
        finally:
            server.kill()


def ask(address: str, body: bytes) -> dict[str, Any]:
    assert address.startswith("http://127.0.0.1:")
    with urlopen(Request(address, body), timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
