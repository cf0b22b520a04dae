from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from instance_seg_ros.bags.storage import BagError, opened_bag
from instance_seg_ros.bags.writer import new_bag
from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.pipeline import Scene

NAMES = ("instances", "label_image", "overlay/compressed", "camera_info", "cloud", "annotations", "scene")


@pytest.mark.parametrize(("storage", "suffix"), [("sqlite3", ".db3"), ("mcap", ".mcap")])
def test_a_scene_becomes_a_message_on_every_topic(
    tmp_path: Path, make_scene: Callable[..., Scene], typestore: Any, read_bag: Callable, storage: str, suffix: str
) -> None:
    scene = make_scene()
    with new_bag(tmp_path / "out", storage, typestore) as results:
        results.write(5, scene, GraspingSettings())
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".yaml", suffix}
    found = read_bag(tmp_path / "out")
    assert found.keys() == {f"/instance_seg/{name}" for name in NAMES}
    for topic, (message,) in found.items():
        if topic.endswith(("annotations", "scene")):  # Foxglove's types have no header
            continue
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == scene.frame.stamp_ns
        assert message.header.frame_id == scene.frame.frame_id
    (overlay,) = found["/instance_seg/overlay/compressed"]
    assert overlay.format == "bgr8; jpeg compressed bgr8"
    assert cv2.imdecode(overlay.data, cv2.IMREAD_COLOR).shape == (120, 160, 3)


def test_messages_are_copied_as_they_are(
    tmp_path: Path, make_scene: Callable[..., Scene], typestore: Any, write_bag: Callable, recorded: list
) -> None:
    with opened_bag(write_bag(recorded)) as bag:
        sources = list(bag.messages(bag.types))
    with new_bag(tmp_path / "out", "mcap", typestore) as results:
        for message in sources:
            results.copy(message)
        results.write(sources[-1].time_ns, make_scene(), GraspingSettings())
    with opened_bag(tmp_path / "out") as copied:
        found = list(copied.messages({message.connection.topic for message in sources}))
    for source, copy in zip(sources, found, strict=True):
        assert (copy.connection.topic, copy.time_ns, copy.raw) == (source.connection.topic, source.time_ns, source.raw)
        assert np.array_equal(copy.connection.ext.offered_qos_profiles, source.connection.ext.offered_qos_profiles)


def test_a_bag_without_a_scene_does_not_appear(tmp_path: Path, typestore: Any) -> None:
    with new_bag(tmp_path / "folder" / "out", "mcap", typestore):
        pass
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_failure_leaves_nothing_behind(tmp_path: Path, make_scene: Callable[..., Scene], typestore: Any) -> None:
    with contextlib.suppress(KeyboardInterrupt), new_bag(tmp_path / "out", "mcap", typestore) as results:
        results.write(5, make_scene(), GraspingSettings())
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_an_error(tmp_path: Path, typestore: Any) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "out"
    with pytest.raises(BagError, match="cannot write .*file/out"), new_bag(target, "mcap", typestore):
        pass
