"""Frames from recordings, and what is counted where there is none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Writer

from instance_seg_ros.bags.reader import FrameReader, InputCounts, read_frames
from instance_seg_ros.bags.storage import opened_bag
from instance_seg_ros.bags.topics import find_topics
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import outgoing

Stamped = tuple[str, int, Any]
COLOR, COLOR_INFO = "/camera/color/image_raw", "/camera/color/camera_info"
ALIGNED, ALIGNED_INFO = "/camera/aligned_depth_to_color/image_raw", "/camera/aligned_depth_to_color/camera_info"
INFOS = (COLOR_INFO, ALIGNED_INFO)
SECOND_DEPTH, THIRD_COLOR = 7, 10
"""Places of two images in `recorded`."""


@pytest.fixture
def read(write_bag: Callable, typestore: Any) -> Callable[..., tuple[list[RgbdFrame], InputCounts]]:
    """Writes what was recorded as a bag and reads its frames."""

    def run(
        recorded: list[Stamped],
        tolerance_s: float = 0.025,
        cut: list[Stamped] | None = None,
        storage: str = "sqlite3",
        **options: Any,
    ) -> tuple[list[RgbdFrame], InputCounts]:
        counts = InputCounts()
        with opened_bag(write_bag(recorded, storage, cut=cut or [])) as bag:
            reader = FrameReader(bag, typestore, find_topics(bag.types), tolerance_s, counts, **options)
            return [frame for _, frame in reader.read()], counts

    return run


def changed(recorded: list[Stamped], topics: tuple[str, ...], change: Callable[[Any], Any]) -> list[Stamped]:
    """What was recorded, with every message on these topics changed."""
    return [(topic, ns, change(message) if topic in topics else message) for topic, ns, message in recorded]


def test_frames_are_read_as_they_were(write_bag: Callable, recorded: list[Stamped], frames: list[RgbdFrame]) -> None:
    found = list(read_frames(write_bag(recorded)))
    assert [frame.stamp_ns for frame in found] == [frame.stamp_ns for frame in frames]
    assert [frame.frame_id for frame in found] == ["camera_color_optical_frame"] * 4
    np.testing.assert_allclose(found[0].depth_m, frames[0].depth_m, atol=0.0006)
    assert np.array_equal(found[0].color_rgb, frames[0].color_rgb)  # type: ignore[arg-type]
    assert found[0].intrinsics == frames[0].intrinsics


def test_images_are_counted(read: Callable, recorded: list[Stamped]) -> None:
    _, counts = read(recorded)
    assert counts == InputCounts(colors=4, depths=4, registration="")


def test_infos_recorded_after_the_first_images_still_count(read: Callable, recorded: list[Stamped]) -> None:
    late = [(topic, ns + 1_000_000 * (topic in INFOS), message) for topic, ns, message in recorded]
    assert len(read(late)[0]) == 4


def test_images_without_a_partner_are_counted(read: Callable, recorded: list[Stamped]) -> None:
    del recorded[SECOND_DEPTH]
    found, counts = read(recorded, tolerance_s=0.01)
    assert len(found) == 3
    assert counts.lost == {
        "no depth image within 10 ms (the nearest is 33 ms earlier in the median; --tolerance-s allows more)": 1
    }


def test_stamps_that_never_meet_give_no_frame_but_the_cause(
    read: Callable, make: outgoing.MessageFactory, recorded: list[Stamped]
) -> None:
    def two_seconds_later(message: Any) -> Any:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        return replace(message, header=outgoing.header(make, stamp_ns + 2 * 10**9, message.header.frame_id))

    found, counts = read(changed(recorded, (ALIGNED,), two_seconds_later))
    assert found == []
    assert counts.lost == {"no depth image within 25 ms (the nearest is 1.95 s later in the median)": 4}


@pytest.mark.parametrize(("silent", "lost"), [(COLOR, 0), (ALIGNED, 4)])
def test_a_topic_on_which_nothing_was_recorded_is_named(
    silent: str, lost: int, write_bag: Callable, typestore: Any, recorded: list[Stamped], tmp_path: Path
) -> None:
    with Writer(tmp_path / "silent", version=9) as writer:
        types = {topic: message.__msgtype__ for topic, _, message in recorded}
        connections = {topic: writer.add_connection(topic, types[topic], typestore=typestore) for topic in types}
        for topic, ns, message in recorded:
            if topic != silent:
                writer.write(connections[topic], ns, typestore.serialize_cdr(message, types[topic]))
    counts = InputCounts()
    with opened_bag(tmp_path / "silent") as bag:
        assert list(FrameReader(bag, typestore, find_topics(bag.types), 0.025, counts).read()) == []
    assert [f"the topic {silent}, but no message on it" in warning for warning in counts.warnings] == [True]
    assert sum(counts.lost.values()) == lost


def test_a_topic_of_which_no_message_can_be_read_is_not_called_silent(
    write_bag: Callable, typestore: Any, recorded: list[Stamped]
) -> None:
    kept, cut = ([each for each in recorded if (each[0] == COLOR) is own] for own in (False, True))
    counts = InputCounts()
    with opened_bag(write_bag(kept, cut=cut)) as bag:
        assert list(FrameReader(bag, typestore, find_topics(bag.types), 0.025, counts).read()) == []
    assert counts.warnings == [] and sum(counts.lost.values()) == len(cut)


def test_a_bad_message_costs_its_frame_only(read: Callable, recorded: list[Stamped]) -> None:
    topic, stamp_ns, depth = recorded[SECOND_DEPTH]
    recorded[SECOND_DEPTH] = (topic, stamp_ns, replace(depth, data=depth.data[:-3]))
    topic, stamp_ns, color = recorded[THIRD_COLOR]
    recorded[THIRD_COLOR] = (topic, stamp_ns, replace(color, encoding="bayer_of_mars"))
    found, counts = read(recorded)
    assert len(found) == 2
    causes = " | ".join(counts.lost)
    assert "depth image: data are truncated" in causes
    assert "unknown colour encoding 'bayer_of_mars'" in causes
    assert sum(counts.lost.values()) == 2


def test_a_camera_that_was_never_calibrated_is_named(read: Callable, recorded: list[Stamped]) -> None:
    found, counts = read(changed(recorded, (COLOR_INFO,), lambda info: replace(info, k=np.zeros(9))))
    assert found == []
    assert all("is the camera's CameraInfo filled in?" in cause for cause in counts.lost)


@pytest.mark.parametrize(
    ("model", "topic", "told", "warning"),
    [
        ("plumb_bob", COLOR, "colour (plumb_bob)", ""),
        ("scaramuzza", COLOR, "", "the lens distortion of colour (scaramuzza) is of a kind that is not known here"),
        ("plumb_bob", "/camera/color/image_rect", "colour (plumb_bob)", "rectified images, give --rectified"),
    ],
)
def test_what_becomes_of_lens_distortion_is_told(
    read: Callable, recorded: list[Stamped], model: str, topic: str, told: str, warning: str
) -> None:
    distortion = {"distortion_model": model, "d": np.array([0.1, 0, 0, 0, 0])}
    messages = changed(recorded, (COLOR_INFO,), lambda info: replace(info, **distortion))
    found, counts = read([(topic if name == COLOR else name, ns, message) for name, ns, message in messages])
    assert (len(found), counts.distortion) == (4, told)
    assert (warning in counts.warnings[0]) if warning else counts.warnings == []


def test_rectified_images_have_the_camera_p(read: Callable, recorded: list[Stamped], frames: list[RgbdFrame]) -> None:
    def raw_camera(info: Any) -> Any:
        return replace(info, k=2 * info.k, d=np.array([0.1, 0, 0, 0, 0]))

    found, counts = read(changed(recorded, INFOS, raw_camera), rectified=True)
    assert len(found) == 4
    assert counts.warnings == []
    assert {frame.intrinsics for frame in found} == {frames[0].intrinsics}


def test_compressed_streams_are_read(
    read: Callable, make: outgoing.MessageFactory, recorded: list[Stamped], frames: list[RgbdFrame]
) -> None:
    def compressed(frame: RgbdFrame, content: bytes, format: str) -> Any:
        header = outgoing.header(make, frame.stamp_ns, frame.frame_id)
        data = np.frombuffer(content, dtype=np.uint8)
        return make("sensor_msgs/msg/CompressedImage", header=header, format=format, data=data)

    messages = [stamped for stamped in recorded if stamped[0] in INFOS]
    for frame in frames:
        jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame.color_rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
        png = cv2.imencode(".png", np.round(frame.depth_m * 1000).astype(np.uint16))[1].tobytes()
        color = compressed(frame, jpeg, "rgb8; jpeg compressed bgr8")
        depth = compressed(frame, struct.pack("<iff", 0, 0, 0) + png, "16UC1; compressedDepth png")
        messages.append((f"{COLOR}/compressed", frame.stamp_ns, color))
        messages.append((f"{ALIGNED}/compressedDepth", frame.stamp_ns, depth))
    found, counts = read(messages)
    assert (len(found), counts.lost) == (4, {})
    np.testing.assert_allclose(found[0].depth_m, frames[0].depth_m, atol=0.0006)
    assert found[0].color_rgb[60, 40].tolist() == pytest.approx([200, 40, 40], abs=8)


def test_unregistered_depth_is_registered_with_static_transforms(
    read: Callable, unregistered: list[Stamped], transform_message: Callable
) -> None:
    for child, x_m in (("depth", -0.02), ("camera_color_optical_frame", 0.03)):
        unregistered.append(("/tf_static", unregistered[0][1] + 1, transform_message("link", child, (x_m, 0.0, 0.0))))
    found, counts = read(unregistered)
    assert (len(found), counts.lost) == (4, {})
    told = "depth lies at -0.0500 0.0000 0.0000 m in camera_color_optical_frame, turned by 0.00 degrees"
    assert counts.registration == told
    columns = np.flatnonzero(abs(found[0].depth_m[60] - 0.7) < 0.01)
    assert (columns[0], columns[-1]) == (pytest.approx(20, abs=1), pytest.approx(59, abs=1))


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_unregistered_depth_is_registered_with_transforms_of_its_time(
    read: Callable, unregistered: list[Stamped], frames: list[RgbdFrame], transform_message: Callable, storage: str
) -> None:
    """The depth camera is 5 cm to the left at the first frame, and moves on to 8 cm; a robot's hand moves beside it."""
    for index, x_m in enumerate((-0.05, -0.06, -0.07, -0.08)):
        stamp_ns = frames[index].stamp_ns
        pose = transform_message("camera_color_optical_frame", "depth", (x_m, 0.0, 0.0), stamp_ns)
        hand = transform_message("camera_color_optical_frame", "hand", (0.0, 0.0, 1.0), stamp_ns)
        unregistered += [("/tf", stamp_ns, pose), ("/tf", stamp_ns, hand)]
    found, counts = read(unregistered, storage=storage)
    assert (len(found), counts.lost, counts.warnings) == (4, {}, [])
    lefts_px = [np.flatnonzero(abs(frame.depth_m[60] - 0.7) < 0.01)[0] for frame in found]
    assert lefts_px == pytest.approx([20 - 100 * shift_m * 150 / 70 for shift_m in (0, 0.01, 0.02, 0.03)], abs=1)


def test_unregistered_depth_is_registered_with_a_given_pose(read: Callable, unregistered: list[Stamped]) -> None:
    assert len(read(unregistered, T_color_depth=Transform(np.eye(3), np.array([-0.05, 0, 0])))[0]) == 4


def test_unregistered_depth_without_a_pose_is_refused_with_the_cure(
    read: Callable, unregistered: list[Stamped]
) -> None:
    found, counts = read(unregistered)
    assert found == []
    (cause,) = counts.lost
    assert "depth is 320x240 in frame 'depth', colour 160x120" in cause
    assert "--depth-camera-pose" in cause


def test_a_transform_that_was_never_filled_costs_no_more_than_itself(
    read: Callable, recorded: list[Stamped], transform_message: Callable
) -> None:
    unfilled = transform_message("camera_link", "somewhere", (0.0, 0.0, 0.0))
    unfilled.transforms[0].transform.rotation.w = 0.0
    found, counts = read([("/tf_static", recorded[0][1], unfilled), *recorded])
    assert (len(found), counts.lost) == (4, {})
    (warning,) = counts.warnings
    assert warning.startswith("/tf_static has an unusable transform from 'somewhere' to 'camera_link': quaternion")


def test_a_message_that_is_cut_costs_no_more_than_itself(
    read: Callable, recorded: list[Stamped], transform_message: Callable
) -> None:
    transform = transform_message("camera_link", "somewhere", (0.0, 0.0, 0.0))
    found, counts = read(recorded, cut=[("/tf_static", recorded[0][1], transform), recorded[0]])
    assert len(found) == 4
    assert any("a message on /tf_static cannot be read" in warning for warning in counts.warnings)
    assert any(f"a message on {COLOR_INFO} cannot be read" in cause for cause in counts.lost)


def test_aligned_depth_with_the_depth_cameras_frame_is_not_registered_a_second_time_and_told(
    read: Callable, recorded: list[Stamped], frames: list[RgbdFrame], transform_message: Callable
) -> None:
    def of_depth_camera(message: Any) -> Any:
        return replace(message, header=replace(message.header, frame_id="depth"))

    told = changed(recorded, (ALIGNED, ALIGNED_INFO), of_depth_camera)
    told.append(("/tf_static", told[0][1], transform_message("camera_color_optical_frame", "depth", (-0.05, 0.0, 0.0))))
    found, counts = read(told)
    assert len(found) == 4
    np.testing.assert_allclose(found[0].depth_m, frames[0].depth_m, atol=0.0006)
    assert counts.registration == ""
    (warning,) = counts.warnings
    assert "its frame_id 'depth' and its CameraInfo put them: it was aligned to colour already" in warning


def test_a_given_pose_is_named_in_the_summary(read: Callable, unregistered: list[Stamped]) -> None:
    _, counts = read(unregistered, T_color_depth=Transform(np.eye(3), np.array([-0.05, 0, 0])))
    assert counts.registration.startswith("depth lies at -0.0500 0.0000 0.0000 m in camera_color_optical_frame")


def test_a_k_of_another_resolution_is_told(read: Callable, recorded: list[Stamped]) -> None:
    def of_twice_the_size(message: Any) -> Any:
        return replace(message, k=np.array([300.0, 0, 159.5, 0, 300, 119.5, 0, 0, 1]))

    found, counts = read(changed(recorded, (COLOR_INFO, ALIGNED_INFO), of_twice_the_size))
    assert len(found) == 4
    (warning,) = counts.warnings
    assert warning.startswith(
        "the principal point (159.5, 119.5) of colour is far from the middle of its 160x120 image"
    )


def test_depth_in_a_wrong_unit_is_told_once(read: Callable, recorded: list[Stamped]) -> None:
    def tenths(message: Any) -> Any:
        values = np.frombuffer(message.data, "<u2") * 10
        return replace(message, data=values.astype("<u2").view(np.uint8))

    found, counts = read(changed(recorded, (ALIGNED,), tenths))
    assert len(found) == 4
    (warning,) = counts.warnings
    assert "lies beyond 7 m" in warning
