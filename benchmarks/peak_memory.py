"""The largest memory of this process, for the other scripts; needs Linux."""

import re
from pathlib import Path


def peak_mb() -> float:
    """The largest memory of this process so far, in MiB; NaN where Linux does not tell.

    `ru_maxrss` would start at the largest memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")
