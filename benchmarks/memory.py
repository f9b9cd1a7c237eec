"""Peak memory of a process."""

from __future__ import annotations

import re
from pathlib import Path


def peak_mib(pid: int | str = "self") -> float:
    """Peak resident memory in MiB of a process since its start or `reset_peak` (Linux); by default of this one."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def reset_peak() -> None:
    """Set this process's peak to its present memory."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
