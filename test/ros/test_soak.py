"""The node for half an hour at 30 Hz with a fault every 20 seconds: only when asked for, `pytest -m soak`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("rclpy")

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak.py"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("megabytes", "growth"),
    [
        ([360.0] * 60, 0.0),
        ([360.0, 364.0, 357.0, 361.0, 359.0, 364.0] * 10, 0.0),
        ([360.0] * 5 + [250.0, 280.0, 360.0, 362.0, 360.0, 360.0] * 10 + [250.0], 0.0),
        ([360.0 + 0.5 * index for index in range(60)], 389.5 / 369.5 - 1),
        ([360.0 + 0.5 * index - 100.0 * (index % 6 == 0) for index in range(60)], 389.5 / 369.5 - 1),
        ([360.0] * 30 + [350.0] * 30, 350 / 360 - 1),
        ([360.0, 369.0], 0.025),
    ],
    ids=["none", "up and down", "restarts", "a leak", "a leak beside restarts", "less", "cut short"],
)
def test_memory_grew_by_what_its_highest_became_higher(megabytes: list[float], growth: float, soak: ModuleType) -> None:
    assert soak.growth_of(megabytes) == pytest.approx(growth, abs=1e-9)


def test_memory_that_a_process_takes_for_itself_is_its_own(soak: ModuleType) -> None:
    before = soak.usage_of(os.getpid())
    taken = np.ones(50_000_000, dtype=np.uint8)  # no bytes of its own on the way, which malloc might keep
    more = soak.usage_of(os.getpid())
    assert more.megabytes - before.megabytes == pytest.approx(len(taken) / 1e6, abs=5)
    assert (more.threads, more.handles) == (before.threads, before.handles)


def test_shared_memory_counts_when_it_is_mapped_and_no_more_when_it_is_touched(soak: ModuleType) -> None:
    before = soak.usage_of(os.getpid())
    mapped = SharedMemory(create=True, size=50_000_000)
    try:
        untouched = soak.usage_of(os.getpid())
        np.frombuffer(mapped.buf, dtype=np.uint8)[:] = 1
        touched = soak.usage_of(os.getpid())
    finally:
        mapped.close()
        mapped.unlink()
    after = soak.usage_of(os.getpid())
    grown_mb = [each.megabytes - before.megabytes for each in (untouched, touched, after)]
    assert grown_mb == pytest.approx([50, 50, 0], abs=5)
    shared_mb = [each.shared_megabytes - before.shared_megabytes for each in (untouched, touched, after)]
    assert shared_mb == pytest.approx([50, 50, 0], abs=0.1)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("7f00-9f00 rw-s 00000000 00:1b 13 {10}/dev/shm/fastrtps_aed7", 0x2000),
        ("7f00-9f00 rw-s 00000000 00:1b 13 {10}/dev/shm/fastrtps_aed7 (deleted)", 0x2000),
        ("7f00-8f00 rw-s 00000000 00:05 13 {10}/memfd:a name (deleted)", 0x1000),
        ("7f00-8f00 rw-s 00000000 00:05 13 {10}/dev/zero (deleted)", 0x1000),
        ("7f00-8f00 rw-s 00000000 00:05 13 {10}/SYSV00000000 (deleted)", 0x1000),
        ("7f00-8f00 rw-s 00000000 00:06 13 {10}/dev/nvidia0", 0),
        ("7f00-8f00 r--s 00000000 fe:00 13 {10}/usr/lib/gconv/gconv-modules.cache", 0),
        ("7f00-8f00 rw-p 00000000 00:1b 13 {10}/dev/shm/copied_when_written", 0),
        ("7f00-8f00 rw-p 00000000 00:00 0 ", 0),
    ],
    ids=["a segment", "a removed one", "memfd", "anonymous", "System V", "a device", "a file", "private", "no name"],
)
def test_what_is_mapped_as_shared_memory(line: str, size: int, soak: ModuleType) -> None:
    lines = [line.replace("{10}", 10 * " "), "1000-2000 rw-s 00000000 00:1b 14          /dev/shm/other"]
    assert soak.shared_bytes("\n".join(lines)) == size + 0x1000


class BeganError(Exception):
    """Instead of ROS's beginning."""


def test_other_nodes_of_the_machine_are_not_heard(soak: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(**options: object) -> None:
        raise BeganError

    monkeypatch.setattr(soak.rclpy, "init", begin)
    for name in soak.isolated_environment():
        monkeypatch.setenv(name, os.environ.get(name, ""))  # as it was after the test
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    with pytest.raises(BeganError):
        soak.run(1.0, (64, 48), "", "onnxruntime")
    assert int(os.environ["ROS_DOMAIN_ID"]) > 0
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


@pytest.mark.soak
def test_nothing_is_lost_in_half_an_hour() -> None:
    found = subprocess.run([sys.executable, str(SOAK)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
