"""Starts the process of a trial, and answers the line that it prints after each epoch."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.training.launch import environment_of_code
from model.training.spec import TrainingSpec

EPOCH, SEARCHED, JUDGED, ERROR = "epoch", "searched", "judged", "error"  # keys of a line
LINE = "trial: "  # how a line of a trial begins; a library may print others
STOP, GO_ON = "stop", "go on"  # answers


class TrialFailed(ValueError):
    """The training of a trial ended with an error."""


@dataclass
class Measured:
    """The metric after each epoch: on the users by whom a search chooses, and on the others, who judge its choice."""

    searched: list[float] = field(default_factory=list)
    judged: list[float] = field(default_factory=list)
    searched_clicks: int = 0
    judged_clicks: int = 0

    @property
    def best(self) -> int:
        """The index of the epoch with the highest metric on the users by whom a search chooses."""
        return max(range(len(self.searched)), key=self.searched.__getitem__)

    def add(self, line: Mapping[str, Any], metric: str) -> None:
        """Raises TrialFailed if one half of the users has no held-out click."""
        self.searched_clicks, self.judged_clicks = (int(line[half]["rows"]) for half in (SEARCHED, JUDGED))
        if not (self.searched_clicks and self.judged_clicks):
            raise TrialFailed(
                "the held-out day must have clicks of users of both halves, by whom settings are chosen and judged, "
                f"got {self.searched_clicks} and {self.judged_clicks} clicks"
            )
        self.searched.append(line[SEARCHED][metric])
        self.judged.append(line[JUDGED][metric])

    def is_over(self, patience: int) -> bool:
        """Whether the last `patience` epochs were no better than the best one; never if patience is 0."""
        return 0 < patience < len(self.searched) - self.best


def measured(spec: TrainingSpec, metric: str, stops: Callable[[Measured], bool]) -> Measured:
    """Train in a process of its own, until `stops` says so after an epoch. Raises TrialFailed."""
    found = Measured()
    with tempfile.TemporaryDirectory(prefix="batch-recall-trial-") as folder:
        file = Path(folder) / "training_spec.json"
        file.write_text(json.dumps(spec.to_json()), "utf-8")
        try:
            with _started(file) as process:
                _answer(process, found, metric, stops)
        except BrokenPipeError:  # it ended before it read the answer: the exit code says more
            pass
        if process.returncode or not found.searched:
            raise TrialFailed(f"the process of a trial ended with exit code {process.returncode}")
    return found


def _answer(process: subprocess.Popen[str], found: Measured, metric: str, stops: Callable[[Measured], bool]) -> None:
    """Read the lines of a trial and answer each, until it ends. Raises TrialFailed with the error that it prints."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for text in process.stdout:
            if not text.startswith(LINE):
                continue
            line = json.loads(text.removeprefix(LINE))
            if ERROR in line:
                raise TrialFailed(line[ERROR])
            found.add(line, metric)
            process.stdin.write((STOP if stops(found) else GO_ON) + "\n")
            process.stdin.flush()
    except BaseException:
        process.kill()
        raise


def _started(file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "jobs.tuning.trial", str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, env=environment_of_code(), text=True, **pipes)  # type: ignore[call-overload]
