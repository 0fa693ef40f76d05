"""Where and with what a figure was taken: the commit of the code, the processor."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def commit() -> str:
    """The commit of this checkout; "" outside of one, or where there is no git."""
    words = ["git", "rev-parse", "HEAD"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    except OSError:
        return ""
    return found.stdout.strip()


def processor() -> str:
    """As Linux calls it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
