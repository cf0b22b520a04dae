"""Another process that works in a folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claimed_by_another(folder: Path) -> Iterator[None]:
    """A process that claims a folder until it is killed, as the kernel or an operator does it."""
    program = f"""
import sys
from pathlib import Path
from instance_seg_ros.files.writable import claimed_folder
with claimed_folder(Path({str(folder)!r}), "--out"):
    print("claimed", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "claimed\n"
    try:
        yield
    finally:
        other.kill()
        other.wait()
