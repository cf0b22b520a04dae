"""Rerun recordings, judged by Rerun's own reader."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rerun")

from instance_seg_ros.pipeline import Scene
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


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        RerunRecording(tmp_path / "file" / "scenes.rrd")


def test_nothing_is_left_of_a_recording_without_scenes(tmp_path: Path) -> None:
    with RerunRecording(tmp_path / "scenes.rrd"):
        pass
    assert not list(tmp_path.iterdir())
