from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

SIGNAL_AFTER_NETWORKS = """
import signal, sys
from pathlib import Path
from instance_seg_ros.segmentation.runtimes.openvino_backend import OpenVinoSession

signal.signal(signal.SIGUSR1, lambda *received: print("handled"))
path = Path(sys.argv[1])
first, second = OpenVinoSession(path, threads=1), OpenVinoSession(path, threads=1)
del first, second
signal.raise_signal(signal.SIGUSR1)
"""


def test_signals_are_handled_after_networks_came_and_went(block_model_path: Path) -> None:
    command = [sys.executable, "-c", SIGNAL_AFTER_NETWORKS, str(block_model_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "handled\n"), result.stderr
