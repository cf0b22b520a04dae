from __future__ import annotations

import array
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from instance_seg_ros.core.camera import Intrinsics
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import (
    INFOS_KEPT,
    Distortion,
    MessageMatcher,
    RgbdMessages,
    distortion_of,
    frame_of,
    latest_of_each,
    stamp_ns_of,
)
from instance_seg_ros.messages.lens import centre_fault, intrinsics_of, is_distorted

WIDTH, HEIGHT = 8, 6


def header(stamp_ns: int = 5, frame_id: str = "color") -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id)


def image(encoding: str, width: int = WIDTH, height: int = HEIGHT, value: int = 0, **changes: Any) -> Any:
    dtype, channels = (np.dtype("<u2"), 1) if encoding == "16UC1" else (np.dtype("u1"), 3)
    step = width * channels * dtype.itemsize
    data = np.full(width * height * channels, value, dtype=dtype).tobytes()
    fields = {"height": height, "width": width, "encoding": encoding, "is_bigendian": 0, "step": step, "data": data}
    return SimpleNamespace(**{"header": header(), **fields, **changes})


def info(width: int = WIDTH, height: int = HEIGHT, **changes: Any) -> Any:
    fields = {
        "header": header(),
        "width": width,
        "height": height,
        "k": [10.0, 0, width / 2 - 0.5, 0, 10.0, height / 2 - 0.5, 0, 0, 1],
        "distortion_model": "plumb_bob",
        "d": [0.0] * 5,
        "r": [0.0] * 9,
        "p": [0.0] * 12,
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return SimpleNamespace(**{**fields, **changes})


def matched(**changes: Any) -> RgbdMessages:
    fields = {"color": image("rgb8"), "depth": image("16UC1", value=500), "color_info": info(), "depth_info": None}
    return RgbdMessages(**{**fields, **changes})


def no_pose(color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
    raise ValueError(f"no way from {depth_frame} to {color_frame}")


def identity(color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
    return Transform.identity()


def test_registered_images_become_a_frame_without_asking_for_a_pose() -> None:
    frame = frame_of(matched(), no_pose)
    assert frame.depth_m.tolist() == np.full((HEIGHT, WIDTH), np.float32(0.5)).tolist()
    assert (frame.stamp_ns, frame.frame_id) == (5, "color")


class RosidlBuffer:
    """The interface of rosidl_buffer.Buffer, which ROS 2 Lyrical's messages may hold instead of an array.array."""

    backend_type = "cuda"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def to_bytes(self) -> bytes:
        return self._data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, partial(array.array, "B"), RosidlBuffer])
def test_the_bytes_of_an_image_may_be_in_any_container(kind: Callable[[bytes], Any]) -> None:
    png = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 500, np.uint16))[1].tobytes()
    compressed = SimpleNamespace(header=header(), format="16UC1; compressedDepth png", data=kind(bytes(12) + png))
    raw_color, raw_depth = image("rgb8", value=7), image("16UC1", value=500)
    for message in (raw_color, raw_depth):
        message.data = kind(message.data)
    for depth in (raw_depth, compressed):
        frame = frame_of(matched(color=raw_color, depth=depth), no_pose)
        assert (frame.color_rgb == 7).all() and (frame.depth_m == np.float32(0.5)).all()


def test_depth_of_another_size_is_registered() -> None:
    depth = image("16UC1", WIDTH * 2, HEIGHT * 2, value=500)
    depth_info = info(WIDTH * 2, HEIGHT * 2, k=[20.0, 0, WIDTH - 0.5, 0, 20.0, HEIGHT - 0.5, 0, 0, 1])
    frame = frame_of(matched(depth=depth, depth_info=depth_info), identity)
    assert frame.depth_m.shape == (HEIGHT, WIDTH)
    assert frame.depth_m[1:-1, 1:-1] == pytest.approx(0.5)


def test_depth_of_colours_frame_and_size_but_another_focal_length_is_registered() -> None:
    depth = image("16UC1", value=500)
    depth.data = np.where(np.arange(WIDTH) < 4, 500, 800)[None].repeat(HEIGHT, axis=0).astype("<u2").tobytes()
    half_as_wide = info(k=[5.0, 0, WIDTH / 2 - 0.5, 0, 5.0, HEIGHT / 2 - 0.5, 0, 0, 1])
    frame = frame_of(matched(depth=depth, depth_info=half_as_wide), identity)
    # What is at column x of depth is at 3.5 + 2 (x - 3.5) of colour: columns 2 and 5 of depth at 0.5 and 6.5.
    assert frame.depth_m[1:-1, 1:3] == pytest.approx(0.5)
    assert frame.depth_m[1:-1, 4:7] == pytest.approx(0.8)


def test_depth_whose_camera_has_a_given_pose_is_registered_though_it_looks_as_if_it_were() -> None:
    aside = Transform(np.eye(3), np.array([0.05, 0, 0]))  # one pixel at 0.5 m
    frame = frame_of(matched(depth_info=info()), no_pose, aside)
    assert (frame.depth_m[:, 0] == 0).all()
    assert frame.depth_m[:, 1:] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "depth_info",
    [
        info(),
        info(k=[10.05, 0, 3.6, 0, 10.05, 2.4, 0, 0, 1]),
        info(k=[0.0] * 9),
        info(k=[5.0, 0, 3.5, 0, 5.0, 2.5, 0, 0, 1], header=header(frame_id="depth")),
        info(4, 3),
    ],
    ids=["the same", "nearly the same", "never filled in", "of another frame", "of another size"],
)
def test_a_depth_camera_info_that_does_not_contradict_changes_nothing(depth_info: Any) -> None:
    frame = frame_of(matched(depth_info=depth_info), no_pose)
    assert frame.depth_m.tolist() == np.full((HEIGHT, WIDTH), np.float32(0.5)).tolist()


@pytest.mark.parametrize(("shift_px", "registered"), [(0.9, False), (1.5, True)])
def test_depth_whose_own_camera_info_places_points_more_than_a_pixel_elsewhere_is_registered(
    shift_px: float, registered: bool
) -> None:
    asked: list[int] = []

    def pose(color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
        asked.append(stamp_ns)
        return Transform.identity()

    camera = intrinsics_of(info())
    moved = info(k=[camera.fx, 0, camera.cx - shift_px, 0, camera.fy, camera.cy, 0, 0, 1])
    frame_of(matched(depth_info=moved), pose)
    assert bool(asked) is registered


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"color_info": None}, "no CameraInfo of the colour camera has arrived"),
        ({"color_info": info(k=[0.0] * 9)}, "colour camera_info: focal lengths must be positive"),
        ({"color_info": info(WIDTH * 2)}, "the colour image is 8x6 but its CameraInfo says 16x6"),
        ({"color": image("rgb8", data=b"short")}, "colour image: data are truncated"),
        ({"color": image("nonsense")}, "colour image: unknown colour encoding 'nonsense'"),
        ({"depth": image("16UC1", step=1)}, "depth image: step is 1 bytes"),
        ({"depth_info": info(k=[10.0, 0, 99.0, 0, 10.0, 3.0, 0, 0, 1])}, "depth camera_info: the principal point"),
        ({"depth": image("16UC1", 4, 4)}, "depth is 4x4 in frame 'color'.*no CameraInfo of the depth camera"),
        (
            {"depth": image("16UC1", header=header(frame_id="depth")), "depth_info": info()},
            "in frame 'depth', colour .*no way from depth to color; or let the camera's driver align",
        ),
    ],
)
def test_messages_that_cannot_be_used_are_refused_with_the_part_and_the_cause(
    changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(ValueError, match=cause):
        frame_of(matched(**changes), no_pose)


@pytest.mark.parametrize(
    ("fx", "fy", "fault"),
    [
        (0.40, 10.0, None),  # 168.6 degrees
        (0.30, 10.0, "a focal length of 0.3 px in an image 8 px wide is a field of view of 171 degrees"),
        (10.0, 0.20, "a focal length of 0.2 px in an image 6 px high is a field of view of 172 degrees"),
        (430.0, 330.0, None),  # 1.07 and 1.04 degrees
        (480.0, 330.0, "a focal length of 480 px in an image 8 px wide is a field of view of 0.955 degrees"),
    ],
)
def test_a_focal_length_that_no_camera_has_is_named(fx: float, fy: float, fault: str | None) -> None:
    message = info(k=[fx, 0, 3.5, 0, fy, 2.5, 0, 0, 1])
    if fault is None:
        assert intrinsics_of(message).fx == fx
        return
    with pytest.raises(ValueError, match=fault):
        intrinsics_of(message)


@pytest.mark.parametrize(("nanosec", "refused"), [(999_999_999, False), (1_000_000_000, True)])
@pytest.mark.parametrize("which", ["color", "depth"])
def test_a_stamp_whose_nanoseconds_are_a_second_is_refused(which: str, nanosec: int, refused: bool) -> None:
    messages = matched()
    getattr(messages, which).header.stamp.nanosec = nanosec
    if not refused:
        frame_of(messages, no_pose)
        return
    with pytest.raises(ValueError, match="a stamp cannot have 1000000000 nanoseconds in its second"):
        frame_of(messages, no_pose)


@pytest.mark.parametrize(("characters", "refused"), [(255, False), (256, True)])
def test_a_frame_id_that_is_no_name_is_refused(characters: int, refused: bool) -> None:
    messages = matched()
    messages.color.header.frame_id = messages.depth.header.frame_id = "x" * characters
    if not refused:
        assert len(frame_of(messages, no_pose).frame_id) == characters
        return
    with pytest.raises(ValueError, match="colour image: its frame_id has 256 characters, more than 255"):
        frame_of(messages, no_pose)


def test_a_region_of_interest_moves_the_principal_point() -> None:
    roi = SimpleNamespace(x_offset=2, y_offset=1, width=4, height=3)
    assert intrinsics_of(info(roi=roi)) == Intrinsics(4, 3, 10.0, 10.0, 1.5, 1.5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"k": [20.0, 0, 7.5, 0, 20.0, 5.5, 0, 0, 1]}, "the principal point (7.5, 5.5) of colour is far from the m"),
        ({"k": [10.0, 0, 5.0, 0, 10.0, 2.5, 0, 0, 1]}, ""),
        ({"roi": SimpleNamespace(x_offset=4, y_offset=3, width=4, height=3)}, ""),
        ({"k": [10.0, 0, 1.5, 0, 10.0, 2.5, 0, 0, 1]}, ""),
        ({"k": [0.0] * 9}, ""),
    ],
    ids=["its own", "of twice the resolution", "somewhat aside", "named part", "of an upright part", "not filled in"],
)
def test_a_k_that_misses_the_middle_is_told(changes: dict[str, Any], told: str) -> None:
    fault = centre_fault({"depth": None, "colour": info(**changes)})
    assert fault.startswith(told) if told else fault == ""
    assert not told or "If the driver crops the image, name the crop in roi" in fault


def test_the_resolution_that_a_k_belongs_to_is_named() -> None:
    k = [600.0, 0, 421.3, 0, 600.0, 243.8, 0, 0, 1]
    assert "is K that of 848x480, in whose middle" in centre_fault({"colour": info(k=k, width=640, height=480)})


def test_binning_scales_the_camera() -> None:
    assert intrinsics_of(info(binning_x=2, binning_y=2)) == Intrinsics(4, 3, 5.0, 5.0, 1.5, 1.0)


DISTORTED = [0.1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "corrected", "left"),
    [
        ({}, "", ""),
        ({"color_info": info(d=[])}, "", ""),
        ({"color_info": info(d=DISTORTED)}, "colour (plumb_bob)", ""),
        ({"color_info": info(d=DISTORTED[:3])}, "", "colour (plumb_bob)"),
        ({"color_info": info(d=DISTORTED, distortion_model="")}, "", "colour (no model)"),
        ({"depth_info": info(d=DISTORTED)}, "depth (plumb_bob)", ""),
        ({"depth_info": info(d=DISTORTED, header=header(frame_id="of the bare depth camera"))}, "", ""),
        (
            {"color_info": info(d=DISTORTED, distortion_model="scaramuzza"), "depth_info": info(d=DISTORTED)},
            "depth (plumb_bob)",
            "colour (scaramuzza)",
        ),
    ],
)
def test_distortion_is_seen(changes: dict[str, Any], corrected: str, left: str) -> None:
    found = distortion_of(matched(**changes))
    assert (found.corrected, found.left) == (corrected, left)


@pytest.mark.parametrize(
    ("corrected", "left", "topic", "fault"),
    [
        ("", "", "/camera/color/image_raw", ""),
        ("colour (plumb_bob)", "", "/camera/color/image_raw", ""),
        ("depth (plumb_bob)", "", "/camera/image_rect", ""),
        ("colour (plumb_bob)", "", "/rectangles/image_raw", ""),
        ("colour (plumb_bob)", "", "/camera/image_rect_color", "/camera/image_rect_color is rectified already"),
        (
            "",
            "colour (scaramuzza)",
            "/camera/image_raw",
            "distortion of colour (scaramuzza) is of a kind that",
        ),
    ],
)
def test_distortion_that_stays_or_may_be_taken_out_twice_is_told(
    corrected: str, left: str, topic: str, fault: str
) -> None:
    found = Distortion(corrected, left).fault(topic, "rectified_inputs")
    assert (fault in found and "rectified_inputs" in found) if fault else found == ""


def test_aligned_depth_is_rectified_as_colour_unless_its_own_camera_info_says_otherwise() -> None:
    wide = {"k": [6.0, 0, 3.5, 0, 6.0, 2.5, 0, 0, 1]}
    strong = info(d=[-0.4, 0, 0, 0, 0], **wide)
    values = (500 + 10 * np.arange(WIDTH * HEIGHT, dtype="<u2")).reshape(HEIGHT, WIDTH)
    depth = image("16UC1", data=values.tobytes())
    as_colour = frame_of(matched(color_info=strong, depth=depth), no_pose).depth_m
    told_so = frame_of(matched(color_info=strong, depth=depth, depth_info=strong), no_pose).depth_m
    told_otherwise = frame_of(matched(color_info=strong, depth=depth, depth_info=info(**wide)), no_pose).depth_m
    assert as_colour.tolist() == told_so.tolist() != told_otherwise.tolist()
    assert told_otherwise == pytest.approx(values / 1000)
    assert np.isin(np.round(as_colour * 1000), [*values.ravel(), 0]).all(), "measurements, none between two"


SECOND = 1_000_000_000
OLD = [("old", stamp_s) for stamp_s in range(90, 100)]


@pytest.mark.parametrize(
    ("infos", "focal"),
    [
        pytest.param([(1.0, *each) for each in OLD] + [(2.0, "new", 0)], 2.0, id="another camera, which says it once"),
        pytest.param([(2.0, "new", 0)] + [(1.0, *each) for each in OLD], 2.0, id="two cameras on one topic"),
        pytest.param([(2.0, "new", 0)] + [(1.0, *each) for each in OLD * 4], 2.0, id="the other one for long"),
        pytest.param([(2.0, "", 0)] + [(1.0, *each) for each in OLD * 4], 1.0, id="of neither, the latest"),
        pytest.param([(1.0, "new", 98.5), (2.0, "new", 0)], 2.0, id="no stamps from now on"),
        pytest.param([(1.0, "new", 0), (2.0, "new", 99.9), (3.0, "new", 100.4)], 2.0, id="recalibrated meanwhile"),
        pytest.param([(1.0, "body", 99.0), (2.0, "body", 100.1)], 2.0, id="of another frame_id than all images"),
        pytest.param(
            [(1.0, "new", 3000.0), (2.0, "new", 60.0)], 2.0, id="each few seconds, and the clock was set back"
        ),
    ],
)
def test_an_image_gets_the_info_of_its_own_camera(infos: list[tuple[float, str, float]], focal: float) -> None:
    matcher = MessageMatcher(tolerance_s=0.01)
    for own_focal, frame_id, stamp_s in infos:
        k = [own_focal, 0, 0, 0, own_focal, 0, 0, 0, 1]
        matcher.add_color_info(info(header=header(round(stamp_s * SECOND), frame_id), k=k))
    matcher.add_color(image("rgb8", header=header(100 * SECOND, "new")))
    found = matcher.add_depth(image("16UC1", header=header(100 * SECOND, "new")))
    assert found is not None and found.color_info.k[0] == focal


@pytest.mark.parametrize("frame_ids", [["old"], ["old", "new"], [f"camera {number}" for number in range(100)]])
def test_no_more_infos_are_kept_however_many_cameras_there_are(frame_ids: list[str]) -> None:
    matcher = MessageMatcher(tolerance_s=0.01)
    for number in range(300):
        frame_id = frame_ids[number % len(frame_ids)]
        matcher.add_color_info(info(header=header(number * SECOND, frame_id)))
        matcher.add_depth_info(info(header=header(number * SECOND, frame_id)))
    latest_s = [each.header.stamp.sec for each in matcher.infos.color]
    assert latest_s == [each.header.stamp.sec for each in matcher.infos.depth] == list(range(300 - INFOS_KEPT, 300))


def test_the_latest_of_each_camera_are_those_of_now_while_others_come() -> None:
    class ReadWhileAnotherComes:
        @property
        def header(self) -> Any:
            infos.append(info(header=header(5, "later")))
            return header(4, "old")

    first, last = ReadWhileAnotherComes(), info(header=header(3, "new"))
    infos = deque([info(header=header(1, "old")), info(header=header(2, "new")), last, first])
    assert latest_of_each(infos) == [last, first]


def test_pairs_get_the_infos_nearest_in_time() -> None:
    matcher = MessageMatcher(tolerance_s=0.01)
    early, late = info(header=header(0)), info(header=header(1_000_000_000))
    for each in (early, late):
        matcher.add_color_info(each)
    assert matcher.add_color(image("rgb8", header=header(900_000_000))) is None
    pair = matcher.add_depth(image("16UC1", header=header(900_000_000)))
    assert pair is not None
    assert pair.color_info is late
    assert pair.depth_info is None
    assert pair.stamp_ns == stamp_ns_of(pair.color.header) == 900_000_000


def test_rectified_images_have_the_camera_p_and_no_distortion() -> None:
    matcher = MessageMatcher(tolerance_s=0.01, rectified=True)
    raw = info(d=DISTORTED, p=[9.0, 0, 3.0, 0, 0, 8.0, 2.0, 0, 0, 0, 1, 0])
    matcher.add_color_info(raw)
    matcher.add_depth(image("16UC1", value=500))
    messages = matcher.add_color(image("rgb8"))
    assert messages is not None and messages.color_info is not None
    assert not is_distorted(messages.color_info)
    camera = frame_of(messages, no_pose).intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (9, 8, 3, 2)
    assert is_distorted(raw) and raw.k[0] == 10, "the message itself stays as it was"
