"""A local S3 server for tests of a lake on an object store, and a copy of what the processes of a test print."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import fs

from tests.processes import isolated_process
from tests.standalone import logged

HOME = os.environ.get("BATCH_RECALL_S3")  # the folder that requirements/set_up_s3.sh fills
# The HTTP server sends "100 Continue" twice, and a client of the AWS SDK takes the second one for the end of an upload.
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
        """Arguments of a user's session: endpoint and credentials are in the environment only."""
        jars = ",".join(map(str, sorted(Path(f"{HOME}/jars").iterdir())))
        return f"--jars {jars} --conf spark.hadoop.fs.s3a.path.style.access=true pyspark-shell"

    @property
    def requests(self) -> int:
        return len(re.findall(r'" \d{3} -$', self.log.read_text("utf-8"), re.MULTILINE))


@contextmanager
def moto_server(log: Path) -> Iterator[Server]:
    """Start an S3 server with an empty bucket on a free local port, and point this process's environment to it."""
    assert HOME is not None
    command = [f"{HOME}/bin/python", "-c", SERVER, "--host", "127.0.0.1", "--port", "0"]
    options = {"stderr": subprocess.STDOUT, "env": {"PATH": os.environ["PATH"]}}
    with log.open("w") as out, isolated_process(command, stdout=out, **options) as server:
        url = logged(server, log, r"Running on (http://127\.0\.0\.1:\d+)")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", url)
            patch.setenv("AWS_ALLOW_HTTP", "true")
            patch.setenv("AWS_REGION", "us-east-1")
            patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            fs.S3FileSystem(
                region="us-east-1", scheme="http", endpoint_override=url[7:], allow_bucket_creation=True
            ).create_dir("bucket")
            yield Server(url, log)


@contextmanager
def descriptors_to(file: int) -> Iterator[None]:
    """Write what this process and its children print in the block to a file."""
    saved = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in saved:
            os.dup2(file, number)
        yield
    finally:
        for number, descriptor in saved:
            os.dup2(descriptor, number)
            os.close(descriptor)


def stored_files(folder: str) -> list[str]:
    """The paths of all files below a folder of the server, which begins with its bucket."""
    store = fs.S3FileSystem(scheme="http", endpoint_override=os.environ["AWS_ENDPOINT_URL"][7:])
    found = store.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    return [file.path for file in found if file.is_file]
