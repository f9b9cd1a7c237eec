"""A local S3 server for the tests of a lake on an object store, and what its lake's processes print."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import fs

from tests.processes import session_of_its_own

HOME = os.environ.get("BATCH_RECALL_S3")  # what requirements/set_up_s3.sh fills
# Its HTTP server says "100 Continue" twice, which the AWS SDK's second client takes for the end of an upload.
SERVER = """
from moto.server import main
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.handle_expect_100 = lambda self: True
main()
"""
SECRET = "no-log-may-show-this"


@dataclass(frozen=True)
class Server:
    url: str
    log: Path

    @property
    def submit_args(self) -> str:
        """A session as a user starts it: endpoint and credentials are in the environment, and nowhere else."""
        jars = ",".join(map(str, sorted(Path(f"{HOME}/jars").iterdir())))
        return f"--jars {jars} --conf spark.hadoop.fs.s3a.path.style.access=true pyspark-shell"

    @property
    def requests(self) -> int:
        return len(re.findall(r'" \d{3} -$', self.log.read_text("utf-8"), re.MULTILINE))


@contextmanager
def moto_server(log: Path) -> Iterator[Server]:
    """An S3 server on a free port of this machine, with an empty bucket; this process's environment leads to it."""
    assert HOME is not None
    command = [f"{HOME}/bin/python", "-c", SERVER, "--host", "127.0.0.1", "--port", "0"]
    with log.open("w") as out, session_of_its_own(command, stdout=out, stderr=out, env={"PATH": os.environ["PATH"]}):
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text("utf-8"))):
            assert time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", found[1])
            patch.setenv("AWS_ALLOW_HTTP", "true")
            patch.setenv("AWS_REGION", "us-east-1")
            patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            fs.S3FileSystem(
                region="us-east-1", scheme="http", endpoint_override=found[1][7:], allow_bucket_creation=True
            ).create_dir("bucket")
            yield Server(found[1], log)


@contextmanager
def descriptors_to(file: int) -> Iterator[None]:
    """What processes that are started in the block write goes to a file too."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in kept:
            os.dup2(file, number)
        yield
    finally:
        for number, descriptor in kept:
            os.dup2(descriptor, number)
            os.close(descriptor)
