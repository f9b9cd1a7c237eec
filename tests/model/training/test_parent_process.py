"""kill -9 of a process: what it started, and what that one started, ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.processes import processes, session_of_its_own

CHILD = (
    "import time; from model.training.parent_process import end_with_parent; end_with_parent(); {then}; time.sleep(600)"
)
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
PATIENCE = 60  # seconds


def ended(session: int, left: int) -> bool:
    """Whether no more than `left` processes of a session live, at last."""
    end = time.monotonic() + PATIENCE
    while len(processes(session)) > left and time.monotonic() < end:
        time.sleep(0.05)
    return len(processes(session)) <= left


def test_grandchildren_end_too() -> None:
    grandchild = CHILD.format(then="print('ready', flush=True)")
    child = CHILD.format(then=f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}])")
    command = [sys.executable, "-c", PARENT.format(child=child)]
    with session_of_its_own(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert len(processes(parent.pid)) == 3
        os.kill(parent.pid, signal.SIGKILL)
        assert ended(parent.pid, 0)


def test_a_child_that_does_not_ask_for_it_lives_on() -> None:
    """What the function is for, seen without it."""
    command = [sys.executable, "-c", PARENT.format(child="import time; print('ready', flush=True); time.sleep(600)")]
    with session_of_its_own(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        os.kill(parent.pid, signal.SIGKILL)
        time.sleep(1)
        assert len(processes(parent.pid)) == 1
