"""How much memory a process has taken at most."""

from __future__ import annotations

import re
from pathlib import Path


def peak_mib(pid: int | str = "self") -> float:
    """Peak resident memory of a process, this one by default, since it was started (Linux); not that of its parent."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def reset_peak() -> None:
    """From here on, the peak counts from what the process holds now."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
