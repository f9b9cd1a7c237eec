"""Scripts of examples/, run as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
# Of this checkout, also where the environment's own is another one.
VARIABLES = {**os.environ, "PYTHONPATH": str(ROOT)}


def run_example(name: str, *arguments: object, returncode: int = 0) -> str:
    """Run a script to its end; returns what it prints, or its error if another return code is expected."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, env=VARIABLES, capture_output=True, text=True, check=False)
    assert done.returncode == returncode, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stderr if returncode else done.stdout


@contextmanager
def started_example(name: str, *arguments: object) -> Iterator[str]:
    """The first line that a script prints, which then goes on until the context ends."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    with subprocess.Popen(command, env=VARIABLES, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()
