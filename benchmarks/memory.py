"""Peak memory of a process."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command_line import output_of

SECONDS_BETWEEN_LOOKS = 0.002


def peak_mib(pid: int | str = "self") -> float:
    """Peak resident memory in MiB of a process since its start or `reset_peak` (Linux); by default of this one."""
    return _mib(pid, "VmHWM")


def reset_peak() -> None:
    """Set this process's peak to its present memory."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def peaks_of_child(module: str, arguments: Sequence[str], *, smoke: bool = False) -> tuple[str, float, float]:
    """Run `python -m MODULE ARGUMENTS`; returns its output, and in MiB its peak anonymous and its peak resident memory.

    The kernel records no peak of the anonymous memory, so it is looked at every two milliseconds. A smoke run calls
    main() in this process, whose memory means nothing. Raises CalledProcessError.
    """
    if smoke:
        return output_of(module, arguments, smoke=True), _mib("self", "RssAnon"), peak_mib()
    anonymous = peak = 0.0
    with subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True) as child:
        while child.poll() is None:
            try:
                anonymous, peak = max(anonymous, _mib(child.pid, "RssAnon")), peak_mib(child.pid)
            except (OSError, TypeError):  # it has ended: a process without memory has no such lines
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
        printed = child.communicate()[0]
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return printed, anonymous, peak


def _mib(pid: int | str, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]
