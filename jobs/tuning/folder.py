"""The folder tuning/<ds>/ of a lake: the study while a search runs, then its settings and its page."""

from __future__ import annotations

import datetime as dt
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.lake.files import put_text, read_text
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path

STUDY, OVERLAY, PAGE, RESULT = "study.log", "overlay.toml", "index.html", "result.json"


class TuningFolder:
    """Where a search works. study: its file, on a local disk; `save` copies it into a lake that is elsewhere."""

    def __init__(self, lake: Lake, ds: dt.date, study: Path) -> None:
        self.lake, self.ds, self.study, self.saving = lake, ds, study, threading.Lock()

    def uri(self, name: str) -> str:
        return self.lake.model_path("tuning", str(self.ds), name)

    def save(self) -> None:
        """Copy the study into the lake. Raises DiskFull."""
        if local_path(self.uri(STUDY)) != self.study:
            with self.saving:  # trials end in several threads
                put_text(self.lake.spark, self.uri(STUDY), self.study.read_text("utf-8"))

    def put(self, name: str, text: str) -> None:
        """Replace OVERLAY, PAGE or RESULT. Raises DiskFull."""
        put_text(self.lake.spark, self.uri(name), text)


@contextmanager
def tuning_folder(lake: Lake, ds: dt.date) -> Iterator[TuningFolder]:
    """The folder of a day, with the study of earlier attempts."""
    uri = lake.model_path("tuning", str(ds), STUDY)
    if (study := local_path(uri)) is not None:
        study.parent.mkdir(parents=True, exist_ok=True)
        yield TuningFolder(lake, ds, study)
        return
    with tempfile.TemporaryDirectory(prefix="batch-recall-tuning-") as folder:
        study = Path(folder) / STUDY
        study.write_text(read_text(lambda: lake.spark, uri) or "", "utf-8")
        yield TuningFolder(lake, ds, study)
