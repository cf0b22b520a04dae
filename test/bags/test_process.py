from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader, Writer

from instance_seg_ros.bags.process import (
    STORAGES,
    BagError,
    BagSummary,
    find_topics,
    process_bag,
    read_frames,
    transform_between,
)
from instance_seg_ros.commands import main
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.config import PipelineSettings
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.tracking.tracker import TimeStep

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, TF = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
COLOR, COLOR_INFO = "/camera/color/image_raw", "/camera/color/camera_info"
ALIGNED, ALIGNED_INFO = "/camera/aligned_depth_to_color/image_raw", "/camera/aligned_depth_to_color/camera_info"
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 33_000_000

TYPESTORE = load_typestore()
make = message_factory(TYPESTORE)
Stamped = tuple[str, int, Any]
"""Topic, stamp in nanoseconds, message."""


@pytest.fixture(scope="module")
def pipeline(block_model_path: Path) -> Pipeline:
    return Pipeline.from_settings(PipelineSettings(), block_model_path)


def image(pixels: NDArray, encoding: str, stamp_ns: int, frame_id: str) -> Any:
    return make(
        IMAGE,
        header=outgoing.header(make, stamp_ns, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // pixels.shape[0],
        data=np.ascontiguousarray(pixels).reshape(-1).view(np.uint8),
    )


def compressed(content: bytes, format: str, stamp_ns: int, frame_id: str) -> Any:
    header = outgoing.header(make, stamp_ns, frame_id)
    return make(COMPRESSED, header=header, format=format, data=np.frombuffer(content, dtype=np.uint8))


def camera_info(camera: Intrinsics, stamp_ns: int, frame_id: str) -> Any:
    return make(
        INFO,
        header=outgoing.header(make, stamp_ns, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1], dtype=np.float64),
        r=np.eye(3).reshape(-1),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def static_transform(parent: str, child: str, translation_m: tuple[float, float, float]) -> Any:
    x, y, z = translation_m
    transform = make(
        "geometry_msgs/msg/Transform",
        translation=make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
        rotation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
    stamped = make(
        "geometry_msgs/msg/TransformStamped",
        header=outgoing.header(make, START_NS, parent),
        child_frame_id=child,
        transform=transform,
    )
    return make(TF, transforms=[stamped])


def camera_messages(frame: RgbdFrame) -> list[Stamped]:
    """A frame as a RealSense with aligned depth records it."""
    assert frame.color_rgb is not None
    stamp_ns, frame_id = frame.stamp_ns, frame.frame_id
    depth_mm = np.round(frame.depth_m * 1000).astype(np.uint16)
    return [
        (COLOR_INFO, stamp_ns, camera_info(frame.intrinsics, stamp_ns, frame_id)),
        (ALIGNED_INFO, stamp_ns, camera_info(frame.intrinsics, stamp_ns, frame_id)),
        (COLOR, stamp_ns, image(frame.color_rgb, "rgb8", stamp_ns, frame_id)),
        (ALIGNED, stamp_ns, image(depth_mm, "16UC1", stamp_ns, frame_id)),
    ]


def write_bag(path: Path, recorded: Iterable[Stamped], storage: str = "sqlite3") -> Path:
    with Writer(path, version=9, storage_plugin=STORAGES[storage]) as writer:
        connections: dict[str, Any] = {}
        for topic, stamp_ns, message in recorded:
            msgtype = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=TYPESTORE)
            writer.write(connections[topic], stamp_ns + 5_000_000, TYPESTORE.serialize_cdr(message, msgtype))
    return path


def read_bag(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with Reader(path) as reader:
        for connection, _, raw in reader.messages():
            found.setdefault(connection.topic, []).append(TYPESTORE.deserialize_cdr(raw, connection.msgtype))
    return found


@pytest.fixture
def frames(make_frame: Callable[..., RgbdFrame]) -> list[RgbdFrame]:
    return [make_frame(stamp_ns=START_NS + index * PERIOD_NS) for index in range(4)]


@pytest.fixture
def recorded(frames: list[RgbdFrame]) -> list[Stamped]:
    return [stamped for frame in frames for stamped in camera_messages(frame)]


@pytest.fixture
def process(tmp_path: Path, pipeline: Pipeline) -> Callable[..., tuple[BagSummary, dict[str, list[Any]]]]:
    """Writes what was recorded as a bag and processes it; the summary and the messages of the new bag, if any."""

    def run(recorded: Iterable[Stamped], **options: Any) -> tuple[BagSummary, dict[str, list[Any]]]:
        source = write_bag(tmp_path / "in", recorded)
        summary = process_bag(source, tmp_path / "out", pipeline, **options)
        return summary, read_bag(tmp_path / "out") if summary.frames else {}

    return run


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_every_frame_is_answered_with_the_stamp_of_its_image(
    tmp_path: Path, pipeline: Pipeline, recorded: list[Stamped], frames: list[RgbdFrame], storage: str
) -> None:
    source = write_bag(tmp_path / "in", recorded, storage)
    progress: list[tuple[int, int]] = []
    summary = process_bag(
        source, tmp_path / "out", pipeline, progress=lambda read, total: progress.append((read, total))
    )
    assert (summary.colors, summary.depths, summary.frames, summary.instances) == (4, 4, 4, 8)
    assert summary.lost == {}
    assert summary.stage_times_s.keys() == {"segment", "lift", "grasp", "track"}
    assert progress[-1] == (16, 16)
    found = read_bag(tmp_path / "out")
    names = {"instances", "label_image", "overlay/compressed", "cloud"}
    assert found.keys() == {f"/instance_seg/{name}" for name in names}
    for name in names:
        assert [stamp_of(message) for message in found[f"/instance_seg/{name}"]] == [frame.stamp_ns for frame in frames]
    array = found["/instance_seg/instances"][0]
    assert array.header.frame_id == "camera_color_optical_frame"
    assert [instance.class_name for instance in array.instances] == ["block", "block"]
    assert array.instances[0].surface_centroid.z == pytest.approx(0.7, abs=0.002)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".yaml", ".mcap" if storage == "mcap" else ".db3"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_tracks_keep_their_ids_through_the_bag(process: Callable, recorded: list[Stamped]) -> None:
    _, found = process(recorded)
    ids = [{instance.track_id for instance in array.instances} for array in found["/instance_seg/instances"]]
    assert all(of_frame == ids[0] for of_frame in ids)


def test_the_storage_can_be_chosen(tmp_path: Path, pipeline: Pipeline, recorded: list[Stamped]) -> None:
    process_bag(write_bag(tmp_path / "in", recorded), tmp_path / "out", pipeline, storage="mcap")
    assert list((tmp_path / "out").glob("*.mcap"))


def test_a_single_storage_file_is_read(tmp_path: Path, pipeline: Pipeline, recorded: list[Stamped]) -> None:
    file = next(write_bag(tmp_path / "in", recorded, "mcap").glob("*.mcap"))
    assert process_bag(file, tmp_path / "out", pipeline).frames == 4
    assert list((tmp_path / "out").glob("*.mcap"))


def test_the_overlay_can_be_looked_at(process: Callable, recorded: list[Stamped]) -> None:
    _, found = process(recorded)
    overlay = found["/instance_seg/overlay/compressed"][0]
    assert overlay.format == "bgr8; jpeg compressed bgr8"
    assert cv2.imdecode(overlay.data, cv2.IMREAD_COLOR).shape == (120, 160, 3)


def test_inputs_are_copied_on_request(process: Callable, recorded: list[Stamped]) -> None:
    _, found = process(recorded, copy_inputs=True)
    assert [len(found[topic]) for topic in (COLOR, COLOR_INFO, ALIGNED, ALIGNED_INFO)] == [4, 4, 4, 4]
    assert np.array_equal(found[COLOR][0].data, recorded[2][2].data)


def test_processing_stops_after_the_wanted_frames(process: Callable, recorded: list[Stamped]) -> None:
    summary, found = process(recorded, max_frames=2)
    assert summary.frames == len(found["/instance_seg/instances"]) == 2


def test_infos_recorded_after_the_first_images_still_count(process: Callable, recorded: list[Stamped]) -> None:
    late = [
        replace_stamp(stamped, 1_000_000) if stamped[0].endswith("camera_info") else stamped for stamped in recorded
    ]
    assert process(sorted(late, key=lambda stamped: stamped[1]))[0].frames == 4


def replace_stamp(stamped: Stamped, later_ns: int) -> Stamped:
    topic, stamp_ns, message = stamped
    return topic, stamp_ns + later_ns, message


def test_images_without_a_partner_are_counted(process: Callable, recorded: list[Stamped]) -> None:
    without_second_depth = [stamped for index, stamped in enumerate(recorded) if index != 7]
    summary, _ = process(without_second_depth, tolerance_s=0.01)
    assert summary.frames == 3
    assert summary.lost == {"no depth image within 10 ms": 1}


def test_frames_are_read_without_a_pipeline(tmp_path: Path, recorded: list[Stamped], frames: list[RgbdFrame]) -> None:
    found = list(read_frames(write_bag(tmp_path / "in", recorded)))
    assert [frame.stamp_ns for frame in found] == [frame.stamp_ns for frame in frames]
    np.testing.assert_allclose(found[0].depth_m, frames[0].depth_m, atol=0.0006)
    assert np.array_equal(found[0].color_rgb, frames[0].color_rgb)  # type: ignore[arg-type]


def replace_header(stamped: Stamped, later_ns: int) -> Stamped:
    topic, stamp_ns, message = stamped
    header = outgoing.header(make, stamp_ns + later_ns, message.header.frame_id)
    return topic, stamp_ns, replace(message, header=header)


def test_stamps_that_never_meet_give_no_frame_but_the_cause(process: Callable, recorded: list[Stamped]) -> None:
    late = [replace_header(stamped, 2_000_000_000) if stamped[0] == ALIGNED else stamped for stamped in recorded]
    summary, _ = process(late)
    assert summary.frames == 0
    assert summary.lost == {"no depth image within 25 ms": 4}


def test_a_bad_message_costs_its_frame_only(process: Callable, recorded: list[Stamped]) -> None:
    topic, stamp_ns, depth = recorded[7]
    recorded[7] = (topic, stamp_ns, replace(depth, data=depth.data[:-3]))
    topic, stamp_ns, color = recorded[10]
    recorded[10] = (topic, stamp_ns, replace(color, encoding="bayer_of_mars"))
    summary, _ = process(recorded)
    assert summary.frames == 2
    causes = " | ".join(summary.lost)
    assert "depth image: data are truncated" in causes
    assert "unknown colour encoding 'bayer_of_mars'" in causes
    assert sum(summary.lost.values()) == 2


def test_a_camera_that_was_never_calibrated_is_named(process: Callable, frames: list[RgbdFrame]) -> None:
    recorded = []
    for frame in frames:
        for topic, stamp_ns, message in camera_messages(frame):
            recorded.append((topic, stamp_ns, replace(message, k=np.zeros(9)) if topic == COLOR_INFO else message))
    summary, _ = process(recorded)
    assert summary.frames == 0
    assert all("is the camera's CameraInfo filled in?" in cause for cause in summary.lost)


def test_lens_distortion_is_warned_of(process: Callable, frames: list[RgbdFrame]) -> None:
    recorded = []
    for frame in frames:
        for topic, stamp_ns, message in camera_messages(frame):
            d = np.array([0.1, 0, 0, 0, 0])
            recorded.append((topic, stamp_ns, replace(message, d=d) if topic == COLOR_INFO else message))
    summary, _ = process(recorded)
    assert summary.frames == 4
    (warning,) = summary.warnings
    assert "distortion" in warning


def test_rectified_images_have_the_camera_p(process: Callable, frames: list[RgbdFrame]) -> None:
    recorded = []
    for frame in frames:
        for topic, stamp_ns, message in camera_messages(frame):
            if topic in (COLOR_INFO, ALIGNED_INFO):
                p = np.insert(message.k.reshape(3, 3), 3, 0, axis=1).reshape(12)
                message = replace(message, p=p, k=2 * message.k, d=np.array([0.1, 0, 0, 0, 0]))
            recorded.append((topic, stamp_ns, message))
    summary, written = process(recorded, rectified=True)
    assert (summary.frames, summary.warnings) == (4, [])
    assert {array.fx for array in written["/instance_seg/instances"]} == {frames[0].intrinsics.fx}
    assert summary.time_steps == {TimeStep.FORWARD: 4}


def test_compressed_streams_are_read(process: Callable, frames: list[RgbdFrame]) -> None:
    recorded: list[Stamped] = []
    for frame in frames:
        info, _, (_, stamp_ns, _), _ = camera_messages(frame)
        bgr = cv2.cvtColor(frame.color_rgb, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", bgr)[1].tobytes()
        png = cv2.imencode(".png", np.round(frame.depth_m * 1000).astype(np.uint16))[1].tobytes()
        recorded += [
            info,
            (f"{COLOR}/compressed", stamp_ns, compressed(jpeg, "rgb8; jpeg compressed bgr8", stamp_ns, frame.frame_id)),
            (
                f"{ALIGNED}/compressedDepth",
                stamp_ns,
                compressed(struct.pack("<iff", 0, 0, 0) + png, "16UC1; compressedDepth png", stamp_ns, frame.frame_id),
            ),
        ]
    summary, found = process(recorded)
    assert (summary.frames, summary.lost) == (4, {})
    assert found["/instance_seg/instances"][0].instances[0].surface_centroid.z == pytest.approx(0.7, abs=0.002)


DEPTH, DEPTH_INFO = "/camera/depth/image_rect_raw", "/camera/depth/camera_info"


def unregistered(frames: list[RgbdFrame]) -> list[Stamped]:
    """Depth of twice the resolution, from a camera 5 cm to the left in a frame of its own."""
    recorded: list[Stamped] = []
    for frame in frames:
        info, _, color, _ = camera_messages(frame)
        depth_camera = frame.intrinsics.resized(320, 240)
        depth_m = np.full((240, 320), 0.8, dtype=np.float32)
        depth_m[60:160, 61:141] = 0.7  # the first block, moved right by 0.05 m * 300 px / 0.7 m = 21 px
        stamp_ns = frame.stamp_ns
        recorded += [
            info,
            color,
            (DEPTH_INFO, stamp_ns, camera_info(depth_camera, stamp_ns, "depth")),
            (DEPTH, stamp_ns, image(depth_m, "32FC1", stamp_ns, "depth")),
        ]
    return recorded


def test_unregistered_depth_is_registered_with_static_transforms(process: Callable, frames: list[RgbdFrame]) -> None:
    tf = [
        ("/tf_static", START_NS + 1, static_transform("camera_link", "depth", (-0.02, 0.0, 0.0))),
        ("/tf_static", START_NS + 1, static_transform("camera_link", "camera_color_optical_frame", (0.03, 0.0, 0.0))),
    ]
    summary, found = process([*unregistered(frames), *tf])
    assert (summary.frames, summary.lost) == (4, {})
    block = found["/instance_seg/instances"][0].instances[0]
    assert block.surface_centroid.z == pytest.approx(0.7, abs=0.002)
    assert block.surface_centroid.x == pytest.approx((39.5 - 79.5) / 150 * 0.7, abs=0.01)


def test_a_transform_or_info_that_cannot_be_read_costs_no_more_than_itself(
    process: Callable, tmp_path: Path, pipeline: Pipeline, recorded: list[Stamped]
) -> None:
    unfilled = static_transform("camera_link", "somewhere", (0.0, 0.0, 0.0))
    unfilled.transforms[0].transform.rotation.w = 0.0
    summary, _ = process([("/tf_static", START_NS + 1, unfilled), *recorded])
    assert (summary.frames, summary.lost) == (4, {})
    (warning,) = summary.warnings
    assert warning.startswith("/tf_static has an unusable transform from 'somewhere' to 'camera_link': quaternion")

    source = tmp_path / "cut"
    with Writer(source, version=9, storage_plugin=STORAGES["sqlite3"]) as writer:
        connections: dict[str, Any] = {}
        for topic, stamp_ns, message in [("/tf_static", START_NS, unfilled), *recorded]:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=TYPESTORE)
                if topic in ("/tf_static", COLOR_INFO):
                    writer.write(
                        connections[topic], stamp_ns, TYPESTORE.serialize_cdr(message, message.__msgtype__)[:9]
                    )
            writer.write(connections[topic], stamp_ns, TYPESTORE.serialize_cdr(message, message.__msgtype__))
    summary = process_bag(source, tmp_path / "cut_out", pipeline)
    assert summary.frames == 4
    assert any("a message on /tf_static cannot be read" in warning for warning in summary.warnings)
    assert any(f"a message on {COLOR_INFO} cannot be read" in cause for cause in summary.lost)


def test_unregistered_depth_is_registered_with_a_given_pose(process: Callable, frames: list[RgbdFrame]) -> None:
    pose = Transform(np.eye(3), np.array([-0.05, 0, 0]))
    assert process(unregistered(frames), T_color_depth=pose)[0].frames == 4


def test_unregistered_depth_without_a_pose_is_refused_with_the_cure(process: Callable, frames: list[RgbdFrame]) -> None:
    summary, _ = process(unregistered(frames))
    assert summary.frames == 0
    (cause,) = summary.lost
    assert "depth is 320x240 in frame 'depth', colour 160x120" in cause
    assert "--depth-camera-pose" in cause


def test_an_existing_target_is_left_alone(tmp_path: Path, pipeline: Pipeline, recorded: list[Stamped]) -> None:
    source = write_bag(tmp_path / "in", recorded)
    (tmp_path / "out").mkdir()
    with pytest.raises(BagError, match="out exists already"):
        process_bag(source, tmp_path / "out", pipeline)


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def scramble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[100:middle] = bytes(middle - 100)
    file.write_bytes(content)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize(
    "damage",
    [lambda file: cut(file, 0.6), lambda file: cut(file, 0.0), lambda file: file.unlink(), scramble],
    ids=["cut", "empty", "missing", "scrambled"],
)
def test_a_damaged_storage_is_an_error_that_names_the_bag(
    tmp_path: Path, pipeline: Pipeline, recorded: list[Stamped], storage: str, damage: Callable[[Path], None]
) -> None:
    source = write_bag(tmp_path / "in", recorded, storage)
    damage(next(file for file in source.iterdir() if file.suffix in (".db3", ".mcap")))
    with pytest.raises(BagError, match="in cannot be read as a rosbag2"):
        process_bag(source, tmp_path / "out", pipeline)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def damage_metadata(folder: Path) -> None:
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: [")


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda folder: (folder / "metadata.yaml").unlink(), "no metadata.yaml; `ros2 bag reindex` makes it anew"),
        (damage_metadata, r"cannot be read as a rosbag2: [^\n]*$"),
    ],
    ids=["no metadata", "broken metadata"],
)
def test_a_folder_that_is_no_bag_is_an_error(
    tmp_path: Path, pipeline: Pipeline, recorded: list[Stamped], damage: Callable[[Path], None], cause: str
) -> None:
    source = write_bag(tmp_path / "in", recorded)
    damage(source)
    with pytest.raises(BagError, match=cause):
        process_bag(source, tmp_path / "out", pipeline)


def test_a_missing_bag_is_an_error(tmp_path: Path, pipeline: Pipeline) -> None:
    with pytest.raises(BagError, match="nowhere does not exist"):
        process_bag(tmp_path / "nowhere", tmp_path / "out", pipeline)


def test_the_command_prints_a_summary(
    tmp_path: Path, block_model_path: Path, recorded: list[Stamped], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write_bag(tmp_path / "in", recorded), tmp_path / "out"
    assert main.main(["bag", str(source), "--out", str(target), "--model", str(block_model_path)]) == 0
    shown = capsys.readouterr().out
    for word in ("frames with results  4", "frames/s", "segment, mean", f"wrote {target}"):
        assert word in shown


def test_the_command_fails_without_a_single_frame_but_says_why(
    tmp_path: Path, block_model_path: Path, recorded: list[Stamped], capsys: pytest.CaptureFixture[str]
) -> None:
    late = [replace_header(stamped, 500_000_000) if stamped[0] == ALIGNED else stamped for stamped in recorded]
    source, target = write_bag(tmp_path / "in", late), tmp_path / "out"
    assert main.main(["bag", str(source), "--out", str(target), "--model", str(block_model_path)]) == 2
    captured = capsys.readouterr()
    assert "lost 4 frame(s): no depth image within 25 ms" in captured.out
    assert "no frame of" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["in"], "no empty bag stands in the way of another try"


REALSENSE = {COLOR: IMAGE, COLOR_INFO: INFO, ALIGNED: IMAGE, ALIGNED_INFO: INFO, DEPTH: IMAGE, DEPTH_INFO: INFO}
ZED = {
    "/zed/zed_node/rgb/image_rect_color": IMAGE,
    "/zed/zed_node/rgb/camera_info": INFO,
    "/zed/zed_node/left/image_rect_color": IMAGE,
    "/zed/zed_node/left/camera_info": INFO,
    "/zed/zed_node/depth/depth_registered": IMAGE,
    "/zed/zed_node/depth/camera_info": INFO,
    "/zed/zed_node/confidence/confidence_map": IMAGE,
}

ZED_5 = {
    **{f"/zed/zed_node/{side}/{color}/rect/image": IMAGE for side in ("rgb", "left") for color in ("color", "gray")},
    "/zed/zed_node/rgb/color/rect/image/camera_info": INFO,
    "/zed/zed_node/rgb/color/rect/camera_info": INFO,
    "/zed/zed_node/depth/depth_registered": IMAGE,
    "/zed/zed_node/depth/camera_info": INFO,
}


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        pytest.param(REALSENSE, (COLOR, COLOR_INFO, ALIGNED, ALIGNED_INFO), id="RealSense, aligned before raw depth"),
        pytest.param(
            ZED,
            (
                "/zed/zed_node/rgb/image_rect_color",
                "/zed/zed_node/rgb/camera_info",
                "/zed/zed_node/depth/depth_registered",
                "/zed/zed_node/depth/camera_info",
            ),
            id="ZED",
        ),
        pytest.param(
            ZED_5,
            (
                "/zed/zed_node/rgb/color/rect/image",
                "/zed/zed_node/rgb/color/rect/camera_info",
                "/zed/zed_node/depth/depth_registered",
                "/zed/zed_node/depth/camera_info",
            ),
            id="ZED, wrapper 5",
        ),
        pytest.param(
            {**REALSENSE, f"{COLOR}/compressed": COMPRESSED, f"{ALIGNED}/compressedDepth": COMPRESSED},
            (COLOR, COLOR_INFO, ALIGNED, ALIGNED_INFO),
            id="raw before compressed",
        ),
        pytest.param(
            {
                f"{COLOR}/compressed": COMPRESSED,
                COLOR_INFO: INFO,
                "/camera/depth/image_raw": IMAGE,
                "/odom": "x/msg/Odom",
            },
            (f"{COLOR}/compressed", COLOR_INFO, "/camera/depth/image_raw", None),
            id="compressed colour beside its camera info",
        ),
    ],
)
def test_topics_are_found_by_type_and_name(types: dict[str, str], expected: tuple) -> None:
    topics = find_topics(types)
    assert (topics.color, topics.color_info, topics.depth, topics.depth_info) == expected


def test_topics_that_are_given_win() -> None:
    topics = find_topics(REALSENSE, {"depth": DEPTH, "color": None})
    assert (topics.color, topics.depth, topics.depth_info) == (COLOR, DEPTH, DEPTH_INFO)


@pytest.mark.parametrize(
    ("types", "overrides", "cause"),
    [
        ({"/imu": "sensor_msgs/msg/Imu"}, {}, r"found no colour image; name it with --color-topic; the bag has /imu"),
        ({}, {}, "the bag has no topics"),
        ({COLOR: IMAGE, COLOR_INFO: INFO}, {}, "found no depth image; name it with --depth-topic"),
        ({COLOR: IMAGE, DEPTH: IMAGE, DEPTH_INFO: INFO}, {}, f"found no CameraInfo of {COLOR}; name it with"),
        ({**REALSENSE, "/other/color/image_raw": IMAGE}, {}, "several topics may be the colour image .*/other/color"),
        (REALSENSE, {"color": "/nowhere"}, "/nowhere, given for color, is not in the bag; the bag has /camera"),
        (REALSENSE, {"depth": DEPTH_INFO}, "given for depth, has the type sensor_msgs/msg/CameraInfo"),
    ],
)  # fmt: skip
def test_topics_that_cannot_be_found_are_an_error_with_the_list(
    types: dict[str, str], overrides: dict[str, str], cause: str
) -> None:
    with pytest.raises(BagError, match=cause):
        find_topics(types, overrides)


def shift(x: float) -> Transform:
    return Transform(np.eye(3), np.array([x, 0, 0]))


def test_transforms_are_composed_over_the_common_ancestor() -> None:
    tree = {"a": ("root", shift(1)), "b": ("root", shift(3)), "c": ("b", shift(0.5))}
    found = transform_between(tree, "a", "c")
    assert found is not None
    assert found.translation_m.tolist() == [2.5, 0, 0]
    assert transform_between(tree, "a", "unknown") is None


def test_a_loop_of_transforms_ends() -> None:
    assert transform_between({"a": ("b", shift(1)), "b": ("a", shift(1))}, "a", "c") is None
