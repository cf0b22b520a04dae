"""Rerun recordings, judged by Rerun's own reader."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rerun")

from instance_seg_ros.core.status import Status
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import gripper_corners_m
from instance_seg_ros.results.rerun_recording import RerunRecording

ENTITIES = ("/camera/image", "/camera/image/color", "/camera/image/depth", "/camera/image/masks", "/camera/cloud")
PLACED = ("/camera/objects", "/camera/grasps")


def rerun(*arguments: str) -> str:
    command = [sys.executable, "-m", "rerun", "rrd", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize(
    ("changes", "entities", "missing"),
    [
        ({}, (*ENTITIES, *PLACED), ()),
        ({"color": False}, (ENTITIES[0], *ENTITIES[2:]), ("/camera/image/color",)),
        ({"empty": True}, (*ENTITIES, *PLACED), ()),
    ],
    ids=["two objects", "no colour", "nothing found"],
)
def test_scenes_are_read_by_rerun(
    tmp_path: Path, make_scene: Callable[..., Scene], changes: dict, entities: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    path = tmp_path / "new" / "scenes.rrd"
    scene = make_scene(**changes)
    with RerunRecording(path) as recording:
        for period in range(2):
            recording.write(replace(scene, frame=replace(scene.frame, stamp_ns=scene.frame.stamp_ns + period)))
    rerun("verify", str(path))
    printed = rerun("print", str(path))
    assert "ViewContents" in printed, "Rerun's own layout hides colour and cloud behind depth"
    assert printed.count("AnnotationContext:context") == 1, "once for the tracks of both scenes, whatever their time"
    assert all(f"{entity} " in printed or f"{entity}\n" in printed for entity in entities), printed
    assert not any(f"{entity} " in printed for entity in missing)


def test_camera_boxes_and_points_are_those_of_the_scene_as_rerun_reads_them(
    tmp_path: Path, make_scene: Callable[..., Scene]
) -> None:
    chunk = pytest.importorskip("rerun.chunk")
    scene = make_scene()
    with RerunRecording(tmp_path / "scenes.rrd") as recording:
        recording.write(scene)
    read: dict[str, Any] = {}
    for part in chunk.RrdReader(tmp_path / "scenes.rrd").stream():
        batch = part.to_record_batch()
        wanted = [name for name in batch.schema.names if ":" in name]
        read |= {f"{part.entity_path} {name}": np.array(batch.column(name).to_pylist()[0]) for name in wanted}

    [box] = [each.box for each in scene.lifted.instances if each.box is not None]
    assert read["/camera/objects Boxes3D:centers"] == pytest.approx(box.T_camera_box.translation_m[None], abs=1e-6)
    assert 2 * read["/camera/objects Boxes3D:half_sizes"] == pytest.approx(box.size_m[None], abs=1e-6)
    assert read["/camera/objects Boxes3D:quaternions"] == pytest.approx(
        box.T_camera_box.quaternion_xyzw[None], abs=1e-6
    )
    camera, rows = scene.frame.intrinsics, scene.frame.depth_m.shape[0]
    columns = read["/camera/image Pinhole:image_from_camera"].reshape(3, 3)  # one column after the other
    assert columns[[0, 1], [0, 1]] == pytest.approx([camera.fx, camera.fy])
    assert columns[2] == pytest.approx([camera.cx + 0.5, camera.cy + 0.5, 1]), "pixels begin at their corners there"
    assert read["/camera/image Pinhole:resolution"].ravel().tolist() == [camera.width, rows]
    edges_m = read["/camera/grasps LineStrips3D:strips"]
    drawn_m = np.concatenate([gripper_corners_m(grasp, scene.gripper) for grasp in scene.grasps[0].grasps]).reshape(
        -1, 3
    )
    assert len(edges_m) == 36 * len(scene.grasps[0].grasps)
    assert edges_m.min(axis=(0, 1)) == pytest.approx(drawn_m.min(axis=0), abs=1e-6)
    assert edges_m.max(axis=(0, 1)) == pytest.approx(drawn_m.max(axis=0), abs=1e-6)


def test_flags_are_named_below_the_tag_of_a_box(tmp_path: Path, make_scene: Callable[..., Scene]) -> None:
    chunk = pytest.importorskip("rerun.chunk")
    scene = make_scene()
    block, unknown = scene.lifted.instances
    flagged = replace(block, status=Status.OCCLUDED | Status.FOOT_NOT_SEEN)
    with RerunRecording(tmp_path / "scenes.rrd") as recording:
        recording.write(replace(scene, lifted=replace(scene.lifted, instances=(flagged, unknown))))
    batches = [part.to_record_batch() for part in chunk.RrdReader(tmp_path / "scenes.rrd").stream()]
    [labels] = [
        batch.column("Boxes3D:labels").to_pylist()[0] for batch in batches if "Boxes3D:labels" in batch.schema.names
    ]
    assert labels == ["#5 object 1.00 0.77 m\noccluded\nfoot not seen"]


def test_a_camera_that_loses_its_colour_shows_no_more_of_it(tmp_path: Path, make_scene: Callable[..., Scene]) -> None:
    path = tmp_path / "scenes.rrd"
    with RerunRecording(path) as recording:
        for color in (True, False, False):
            recording.write(make_scene(color=color))
    cleared = [line for line in rerun("print", str(path)).splitlines() if "/camera/image/color" in line]
    assert sum("Clear" in line for line in cleared) == 1, cleared


def test_the_mask_of_any_track_is_apart_from_the_background(
    tmp_path: Path, make_scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, names = [], []
    monkeypatch.setattr("rerun.SegmentationImage", images.append)
    monkeypatch.setattr("rerun.AnnotationContext", names.append)
    monkeypatch.setattr("rerun.RecordingStream.log", lambda *arguments, **options: None)
    with RerunRecording(tmp_path / "scenes.rrd") as recording:
        recording.write(replace(make_scene(), track_ids=(65536, 2)))
    assert sorted(set(images[0].ravel().tolist())) == [0, 1, 2]
    assert [(number, name) for number, name, _ in names[0]] == [(0, "background"), (1, "#65536"), (2, "#2")]


def test_the_names_of_many_tracks_take_little_of_a_long_recording(
    tmp_path: Path, make_scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, scene = [], make_scene()
    monkeypatch.setattr("rerun.AnnotationContext", names.append)
    monkeypatch.setattr("rerun.RecordingStream.log", lambda *arguments, **options: None)
    with RerunRecording(tmp_path / "scenes.rrd") as recording:
        for frame in range(100):
            recording.write(replace(scene, track_ids=(2 * frame + 1, 2 * frame + 2)))
    assert sum(len(each) for each in names) < 4 * 200, "each list is written whole"
    assert {(number, name) for number, name, _ in names[-1]} >= {(number, f"#{number}") for number in range(1, 201)}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RerunRecording(tmp_path / "file" / "scenes.rrd")


def test_nothing_is_left_of_a_recording_without_scenes(tmp_path: Path) -> None:
    with RerunRecording(tmp_path / "scenes.rrd"):
        pass
    assert not list(tmp_path.iterdir())
