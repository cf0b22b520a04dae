"""A bag through the pipeline, and the command that does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instance_seg_ros.bags.process import BagSummary, process_bag
from instance_seg_ros.bags.storage import BagError
from instance_seg_ros.commands import main
from instance_seg_ros.commands.bag import summary_text
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import outgoing
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.tracking.tracker import TimeStep

COLOR, COLOR_INFO = "/camera/color/image_raw", "/camera/color/camera_info"
ALIGNED, ALIGNED_INFO = "/camera/aligned_depth_to_color/image_raw", "/camera/aligned_depth_to_color/camera_info"
START_NS = 1_700_000_000_000_000_000
"""The stamp of the first frame of `recorded`."""


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_every_frame_is_answered_with_the_stamp_of_its_image(
    tmp_path: Path,
    pipeline: Pipeline,
    write_bag: Callable,
    read_bag: Callable,
    recorded: list,
    frames: list[RgbdFrame],
    storage: str,
) -> None:
    source = write_bag(recorded, storage)
    progress: list[tuple[int, int]] = []
    summary = process_bag(
        source, tmp_path / "out", pipeline, progress=lambda read, total: progress.append((read, total))
    )
    assert (summary.colors, summary.depths, summary.frames, summary.instances) == (4, 4, 4, 8)
    assert summary.lost == {}
    assert summary.stage_times_s.keys() == {"segment", "lift", "grasp", "track"}
    assert summary.time_steps == {TimeStep.FORWARD: 4}
    assert progress[-1] == (16, 16)
    found = read_bag(tmp_path / "out")
    for topic, messages in found.items():
        if topic.endswith(("annotations", "scene")):  # Foxglove's types have no header
            assert len(messages) == len(frames)
            continue
        assert [stamp_of(message) for message in messages] == [frame.stamp_ns for frame in frames]
    array = found["/instance_seg/instances"][0]
    assert array.fx == frames[0].intrinsics.fx
    assert [instance.class_name for instance in array.instances] == ["block", "block"]
    assert array.instances[0].surface_centroid.z == pytest.approx(0.7, abs=0.002)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".yaml", ".mcap" if storage == "mcap" else ".db3"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_tracks_keep_their_ids_through_the_bag(
    tmp_path: Path, pipeline: Pipeline, write_bag: Callable, read_bag: Callable, recorded: list
) -> None:
    process_bag(write_bag(recorded), tmp_path / "out", pipeline)
    arrays = read_bag(tmp_path / "out")["/instance_seg/instances"]
    ids = [{instance.track_id for instance in array.instances} for array in arrays]
    assert len(ids[0]) == 2
    assert ids == [ids[0]] * 4


@pytest.fixture
def poses_given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Transform | None, np.ndarray | None]]:
    """Where the camera is and which way is up, as the pipeline is told for each frame."""
    given, run = [], Pipeline.run

    def watched(
        self: Pipeline, frame: RgbdFrame, T_fixed_camera: Transform | None, up: Callable[[], np.ndarray | None]
    ) -> Scene:
        given.append((T_fixed_camera, up()))
        return run(self, frame, T_fixed_camera, up)

    monkeypatch.setattr(Pipeline, "run", watched)
    return given


def test_transforms_tell_where_a_camera_is_and_which_way_is_up(
    tmp_path: Path,
    pipeline: Pipeline,
    write_bag: Callable,
    recorded: list,
    frames: list[RgbdFrame],
    transform_message: Callable,
    poses_given: list[tuple[Transform, np.ndarray]],
) -> None:
    """The arm moves by 1 cm a frame; the camera, turned over, lies 5 cm above its flange."""
    mounted = transform_message("flange", frames[0].frame_id, (0.0, 0.0, 0.05))
    turn = mounted.transforms[0].transform.rotation
    turn.x, turn.w = 1.0, 0.0
    recorded.append(("/tf_static", START_NS, mounted))
    for index, frame in enumerate(frames):
        moved = transform_message("map", "flange", (0.01 * index, 0.0, 0.0), frame.stamp_ns)
        recorded.append(("/tf", frame.stamp_ns + 10_000_000, moved))  # after the images that it belongs to
    summary = process_bag(write_bag(recorded), tmp_path / "out", pipeline, fixed_frame="map", level_frame="flange")
    assert (summary.frames, summary.lost, summary.warnings) == (4, {}, [])
    assert [pose.translation_m.tolist() for pose, _ in poses_given] == [[0.01 * index, 0, 0.05] for index in range(4)]
    assert all(up.tolist() == [0, 0, -1] for _, up in poses_given)


def test_a_frame_whose_pose_is_not_known_is_lost_and_told_and_one_without_the_way_up_is_not(
    tmp_path: Path, pipeline: Pipeline, write_bag: Callable, recorded: list, transform_message: Callable
) -> None:
    """The first transform comes after two of the images."""
    poses = [
        transform_message("map", "camera_color_optical_frame", (0.0, 0.0, 0.0), START_NS + after_ns)
        for after_ns in (50_000_000, 200_000_000)
    ]
    source = write_bag([*recorded, *(("/tf", START_NS, pose) for pose in poses)])
    fixed = process_bag(source, tmp_path / "fixed", pipeline, fixed_frame="map")
    told = "the pose of 'camera_color_optical_frame' in 'map' at its time is not in the bag"
    assert (fixed.frames, fixed.lost) == (2, {f"{told}, nor between two transforms no more than 10 s apart": 2})
    exact = process_bag(source, tmp_path / "exact", pipeline, fixed_frame="map", pose_gap_ns=0)
    assert (exact.frames, exact.lost) == (0, {told: 4})
    level = process_bag(source, tmp_path / "level", pipeline, level_frame="map")
    told = "the pose of 'camera_color_optical_frame' in 'map' is not known at all times: supports without the way up"
    assert (level.frames, level.warnings) == (4, [told])


def test_two_transforms_between_the_same_frames_are_one_way_between_them(
    tmp_path: Path,
    pipeline: Pipeline,
    write_bag: Callable,
    recorded: list,
    frames: list[RgbdFrame],
    transform_message: Callable,
    poses_given: list[tuple[Transform, np.ndarray]],
) -> None:
    for index, frame in enumerate(frames):
        for parent, child, x_m in (("map", frame.frame_id, 0.01), (frame.frame_id, "map", -0.01)):
            pose = transform_message(parent, child, (x_m * index, 0.0, 0.0), frame.stamp_ns)
            recorded.append(("/tf", frame.stamp_ns, pose))
    process_bag(write_bag(recorded), tmp_path / "out", pipeline, fixed_frame="map", level_frame="map")
    assert [pose.translation_m.tolist() for pose, _ in poses_given] == [[0.01 * index, 0, 0] for index in range(4)]


@pytest.mark.parametrize(
    ("has_tf", "words"),
    [(True, "has the frame 'wrold'; there are camera_color_optical_frame, world"), (False, "neither /tf nor a static")],
)
def test_a_frame_that_no_transform_knows_is_named_with_those_that_there_are(
    tmp_path: Path,
    pipeline: Pipeline,
    write_bag: Callable,
    recorded: list,
    transform_message: Callable,
    has_tf: bool,
    words: str,
) -> None:
    pose = transform_message("world", "camera_color_optical_frame", (0.0, 0.0, 0.0))
    source = write_bag([*recorded, *([("/tf", START_NS, pose)] if has_tf else [])])
    with pytest.raises(BagError, match=words):
        process_bag(source, tmp_path / "out", pipeline, fixed_frame="wrold")
    assert not (tmp_path / "out").exists()


def test_the_storage_can_be_chosen(tmp_path: Path, pipeline: Pipeline, write_bag: Callable, recorded: list) -> None:
    process_bag(write_bag(recorded), tmp_path / "out", pipeline, storage="mcap")
    assert list((tmp_path / "out").glob("*.mcap"))


def test_inputs_are_copied_on_request(
    tmp_path: Path, pipeline: Pipeline, write_bag: Callable, read_bag: Callable, recorded: list
) -> None:
    process_bag(write_bag(recorded), tmp_path / "out", pipeline, copy_inputs=True)
    found = read_bag(tmp_path / "out")
    assert [len(found[topic]) for topic in (COLOR, COLOR_INFO, ALIGNED, ALIGNED_INFO)] == [4, 4, 4, 4]
    assert np.array_equal(found[COLOR][0].data, recorded[2][2].data)


def test_processing_stops_after_the_wanted_frames(
    tmp_path: Path, pipeline: Pipeline, write_bag: Callable, read_bag: Callable, recorded: list
) -> None:
    summary = process_bag(write_bag(recorded), tmp_path / "out", pipeline, max_frames=2)
    assert summary.frames == len(read_bag(tmp_path / "out")["/instance_seg/instances"]) == 2


def test_objects_lie_where_registered_depth_puts_them(
    tmp_path: Path,
    pipeline: Pipeline,
    write_bag: Callable,
    read_bag: Callable,
    unregistered: list,
    transform_message: Callable,
) -> None:
    static = transform_message("camera_color_optical_frame", "depth", (-0.05, 0.0, 0.0))
    source = write_bag([*unregistered, ("/tf_static", unregistered[0][1], static)])
    process_bag(source, tmp_path / "out", pipeline)
    block = read_bag(tmp_path / "out")["/instance_seg/instances"][0].instances[0]
    assert block.surface_centroid.z == pytest.approx(0.7, abs=0.002)
    assert block.surface_centroid.x == pytest.approx((39.5 - 79.5) / 150 * 0.7, abs=0.01)


def test_a_bag_that_cannot_be_read_to_its_end_gives_no_new_one(
    tmp_path: Path, pipeline: Pipeline, write_bag: Callable, recorded: list
) -> None:
    source = write_bag(recorded)
    (file,) = source.glob("*.db3")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    with pytest.raises(BagError, match="in cannot be read as a rosbag2"):
        process_bag(source, tmp_path / "out", pipeline)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_target_is_left_alone(
    tmp_path: Path, pipeline: Pipeline, write_bag: Callable, recorded: list
) -> None:
    source = write_bag(recorded)
    (tmp_path / "out").mkdir()
    with pytest.raises(BagError, match="out exists already"):
        process_bag(source, tmp_path / "out", pipeline)


def test_the_command_prints_a_summary(
    tmp_path: Path, block_model_path: Path, write_bag: Callable, recorded: list, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write_bag(recorded), tmp_path / "out"
    assert main.main(["bag", str(source), "--out", str(target), "--model", str(block_model_path)]) == 0
    shown = capsys.readouterr().out
    for word in ("frames with results  4", "frames/s", "segment, mean", f"wrote {target}"):
        assert word in shown


def test_the_command_fails_without_a_single_frame_but_says_why(
    tmp_path: Path,
    block_model_path: Path,
    make: outgoing.MessageFactory,
    write_bag: Callable,
    recorded: list,
    capsys: pytest.CaptureFixture[str],
) -> None:
    late = [
        (topic, ns, replace(message, header=outgoing.header(make, ns + 500_000_000, "camera")))
        if topic == ALIGNED
        else (topic, ns, message)
        for topic, ns, message in recorded
    ]
    source, target = write_bag(late), tmp_path / "out"
    assert main.main(["bag", str(source), "--out", str(target), "--model", str(block_model_path)]) == 2
    captured = capsys.readouterr()
    assert "lost 4 frame(s): no depth image within 25 ms" in captured.out
    assert "no frame of" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["in"], "no empty bag stands in the way of another try"


@pytest.mark.parametrize(
    ("lost", "lines"),
    [
        (
            {"half beyond 1225.5": 2, "half beyond 1.3e+06": 3, "no pose": 4},
            ["lost 5 frame(s): half beyond 1.3e+06", "lost 4 frame(s): no pose"],
        ),
        (
            {"no /camera_1/depth": 2, "no /camera_2/depth": 1},
            ["lost 2 frame(s): no /camera_1/depth", "lost 1 frame(s): no /camera_2/depth"],
        ),
        (
            {"'cam_1' is 3 s late": 2, "'cam_1' is 4 s late": 2, "'cam_2' is 3 s late": 1},
            ["lost 4 frame(s): 'cam_1' is 3 s late", "lost 1 frame(s): 'cam_2' is 3 s late"],
        ),
    ],
)
def test_causes_that_differ_in_numbers_alone_and_not_in_names_are_one_line(
    lost: dict[str, int], lines: list[str]
) -> None:
    assert summary_text(BagSummary(lost=Counter(lost))).splitlines()[-2:] == lines


def test_the_command_reads_a_recording_that_was_cut_and_says_so(
    tmp_path: Path, block_model_path: Path, write_bag: Callable, recorded: list, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write_bag(recorded, "mcap"), tmp_path / "out"
    (file,) = source.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (source / "metadata.yaml").unlink()
    assert main.main(["bag", str(source), "--out", str(target), "--model", str(block_model_path)]) == 0
    shown = capsys.readouterr().out
    assert "frames with results  2" in shown
    assert "in.mcap was cut short" in shown
    assert "`mcap recover in.mcap`" in shown
    assert list(target.glob("*.mcap"))
