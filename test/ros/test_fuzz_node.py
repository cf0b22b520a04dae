"""Malformed messages by the hundred through the node and DDS: nothing breaks, everything is counted, memory comes back.

What a message may hold at worst is hunted for in test/messages/test_fuzz.py; here it takes the node's whole way.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.health import FATES, RECEIVED

MakeFrame = Callable[..., RgbdFrame]
Rng = np.random.Generator

ROUNDS, HUNTED_ROUNDS, MALFORMED = 6, 50, 50
LONGEST_S = 1.0
"""What a good frame may take longer after malformed ones than alone, where it takes 30 ms on an idle machine."""

HOSTILE = {
    int: (0, 1, 7, 65_535, 2**31 - 1),
    float: (0.0, -1.0, 1e-300, 1e30, float("nan"), float("inf")),
    str: ("", "/x", "y" * 100_000, "é\n", "nv12", "16UC1", "32FC1", "bayer_rggb8"),
}


def spoil_fields(message: Any, rng: Rng) -> None:
    """Puts hostile values of the right type into some fields, at any depth."""
    for _ in range(rng.integers(1, 4)):
        part = message
        name, value = any_field(part, rng)
        while hasattr(value, "get_fields_and_field_types"):
            part = value
            name, value = any_field(part, rng)
        if name == "data":
            kept = int(rng.integers(0, len(value) + 1))
            part.data = value[:kept]
        elif type(value) in HOSTILE:
            hostile = HOSTILE[type(value)]
            setattr(part, name, hostile[int(rng.integers(len(hostile)))])
        elif isinstance(value, np.ndarray):
            changed = value.copy()
            changed[rng.integers(len(changed))] = rng.choice(HOSTILE[float])
            setattr(part, name, changed)
        elif name == "d":
            part.d = rng.choice(HOSTILE[float], int(rng.integers(0, 15))).tolist()


def any_field(message: Any, rng: Rng) -> tuple[str, Any]:
    name = str(rng.choice(list(message.get_fields_and_field_types())))
    return name, getattr(message, name)


def spoil_bytes(message: Any, rng: Rng) -> bytes:
    """The message as it travels, with some bytes changed or its end missing."""
    content = bytearray(serialize_message(message))
    head = min(len(content), 400)  # where texts, sizes and lengths are
    for _ in range(rng.integers(1, 8)):
        content[int(rng.integers(4, head))] = int(rng.integers(256))
    return bytes(content[: int(rng.integers(4, len(content)))] if rng.random() < 0.3 else content)


def pump(stage: Any, until: Callable[[], object], timeout_s: float) -> bool:
    """Executes callbacks as `ros.node.spin` does, which goes on whatever escapes from one."""
    end_s = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > end_s:
            return False
        try:
            stage.executor.spin_once(timeout_sec=0.02)
        except Exception:
            stage.node.report_unexpected()
    return True


def resident_pages() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1])


def counts(stage: Any) -> dict[str, int]:
    status = stage.probe.status("processing")
    facts = {value.key: value.value for value in status.values} if status is not None else {}
    return {name: int(facts.get(name, 0)) for name in (RECEIVED, *FATES)}


@pytest.mark.parametrize(
    ("rounds", "seed"), [(ROUNDS, 14), pytest.param(HUNTED_ROUNDS, None, marks=pytest.mark.hunt)], ids=["some", "hunt"]
)
def test_a_good_frame_is_answered_soon_after_each_flood_of_malformed_ones(
    stage: Any, make_frame: MakeFrame, messages_of: Any, rounds: int, seed: int | None
) -> None:
    seeds = np.random.SeedSequence(seed)
    print(f"seed {seeds.entropy}")  # which the report of a failure shows
    rng = np.random.default_rng(seeds)
    names = ("color_info", "depth_info", "color", "depth")
    stage.wait(lambda: stage.probe.subscribers("depth_info", CameraInfo), "the depth camera's subscription")
    alone_s = []
    for _ in range(3):
        start_s = time.monotonic()
        stage.answer_to(stage.send_frame(make_frame()))
        alone_s.append(time.monotonic() - start_s)
    pages = []
    for _ in range(rounds):
        for _ in range(MALFORMED):
            info, color, depth = messages_of(replace(make_frame(), stamp_ns=stage.stamp_ns()))
            parts = dict(zip(names, (info, CameraInfo(header=info.header), color, depth), strict=True))
            spoilt = str(rng.choice(names))
            if rng.random() < 0.5:
                spoil_fields(parts[spoilt], rng)
            for name in names:
                content = parts[name]
                if name == spoilt and rng.random() < 0.5:
                    stage.probe.input_publishers(name)[0].publish(spoil_bytes(content, rng))
                else:
                    stage.probe.send(name, content)
            pump(stage, lambda: False, 0.005)
        pump(stage, lambda: False, 0.2)  # what waits is worked off
        # A malformed image with a stamp of just now may have taken the partner of the first good one.
        faults = [fault_of_answer(stage, make_frame(), max(alone_s) + LONGEST_S)]
        if faults[0]:
            faults.append(fault_of_answer(stage, make_frame(), max(alone_s) + LONGEST_S))
        assert "" in faults, faults
        for collected in stage.probe.received.values():
            collected.clear()
        pages.append(resident_pages())
    assert pages[-1] < 1.1 * pages[1]
    pump(stage, lambda: counts(stage)[RECEIVED] > 0, 5)
    stage.probe.received["diagnostics"].clear()
    assert pump(stage, lambda: counts(stage)[RECEIVED] > 0, 5)
    found = counts(stage)
    assert found[RECEIVED] == sum(found[fate] for fate in FATES), found
    assert found[RECEIVED] > rounds * MALFORMED / 3, "most of the malformed ones made a pair"


def fault_of_answer(stage: Any, frame: RgbdFrame, limit_s: float) -> str:
    """What is wrong with the answer to a good frame; empty where it gets its objects, soon."""
    # With a CameraInfo of the depth camera, too: of a moment that has none the nearest counts, be it malformed.
    stage.probe.send("depth_info", CameraInfo(header=header(make_message, stage.stamp_ns(), frame.frame_id)))
    stamp_ns = stage.send_frame(frame)
    pump(stage, lambda: stage.probe.answer(stamp_ns), limit_s)
    answer = stage.probe.answer(stamp_ns)
    if answer is None:
        return f"no answer within {limit_s:g} s"
    if answer.status != InstanceArray.STATUS_OK:
        return str(answer.status_text)
    return "" if len(answer.instances) == 2 else f"{len(answer.instances)} objects in place of 2"
