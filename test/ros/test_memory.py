"""What the node's process keeps of memory that it no longer uses."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.core.camera import RgbdFrame

# Threads that live at once free 50 MB each, below a small block that stays, and end.
FREED = """
import os, threading
{before}
import numpy as np

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

kept, together = [], threading.Barrier(6)

def work():
    together.wait()
    large = [np.ones(1_000_000, np.uint8) for _ in range(50)]
    kept.append(np.ones(5000, np.uint8))
    together.wait()
    del large

np.ones(24_000_000, np.uint8)  # once it is freed, smaller blocks come from the heap by default
first = megabytes()
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
{after}
print(megabytes() - first)
"""
ONE_HEAP = "from instance_seg_ros.ros.memory import keep_one_heap\nkeep_one_heap()"
GIVE_BACK = "from instance_seg_ros.ros.memory import give_back\ngive_back()"

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def freed_but_kept_mb(before: str, after: str, **environment: str) -> float:
    found = subprocess.run(
        [sys.executable, "-c", FREED.format(before=before, after=after)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(found.stdout)


@on_linux
@pytest.mark.parametrize(
    ("before", "after", "environment", "least_mb", "most_mb"),
    [
        ("", "", {}, 100, 400),
        (ONE_HEAP, GIVE_BACK, {}, -15, 15),  # what was free before is given back, too
        ("", GIVE_BACK, {}, -15, 15),
        (ONE_HEAP, "", {"MALLOC_ARENA_MAX": "16"}, 100, 400),
    ],
    ids=["by default it is kept", "given back", "from many heaps", "the user's own settings go before"],
)
def test_memory_that_was_freed(
    before: str, after: str, environment: dict[str, str], least_mb: float, most_mb: float
) -> None:
    assert least_mb <= freed_but_kept_mb(before, after, **environment) <= most_mb


def test_a_cleanup_lets_go_of_the_network(
    make_stage: Callable[..., Any], blob_pipeline: Callable[..., Any], make_frame: Callable[..., RgbdFrame]
) -> None:
    segmenters: list[weakref.ref[object]] = []

    def build(*arguments: Any) -> Any:
        pipeline = blob_pipeline(*arguments)
        segmenters.append(weakref.ref(pipeline.segmenter))
        return pipeline

    stage = make_stage(build)
    for _ in range(2):
        stage.start()
        stage.answer_to(stage.send_frame(make_frame()))
        assert segmenters[-1]() is not None
        assert stage.node.trigger_deactivate().name == "SUCCESS"
        assert stage.node.trigger_cleanup().name == "SUCCESS"

    assert [segmenter() for segmenter in segmenters] == [None, None]
