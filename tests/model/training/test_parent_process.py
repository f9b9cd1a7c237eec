"""kill -9 of a process: its children and grandchildren end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.processes import all_ended, first_line, isolated_process, living_processes

CHILD = "import time; from model.training.processes.parent_process import end_with_parent; end_with_parent(); {then}; time.sleep(600)"
# A parent fails if its child fails, so that the test also fails at once.
START = "import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"


def test_grandchildren_end_too() -> None:
    grandchild = CHILD.format(then="print('ready', flush=True)")
    child = CHILD.format(then=START.format(child=grandchild))
    command = [sys.executable, "-c", START.format(child=child)]
    with isolated_process(command, stdout=subprocess.PIPE, text=True) as parent:
        assert first_line(parent) == "ready\n"
        assert len(living_processes(parent.pid)) == 3
        os.kill(parent.pid, signal.SIGKILL)
        assert all_ended(parent.pid)


def test_without_the_call_a_child_survives_its_parent() -> None:
    """The control of the test above."""
    child = "import time; print('ready', flush=True); time.sleep(600)"
    with isolated_process(
        [sys.executable, "-c", START.format(child=child)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert first_line(parent) == "ready\n"
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert not all_ended(parent.pid, seconds=1)
        assert len(living_processes(parent.pid)) == 1


def test_a_child_that_dies_before_it_is_ready_is_noticed_at_once() -> None:
    with isolated_process([sys.executable, "-c", START.format(child="raise SystemExit(3)")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:  # fmt: skip
        assert first_line(parent) == ""
