"""`instance-seg view`, as Open3D sees what it is given."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from instance_seg_ros.commands.main import EXIT_INPUT_ERROR, main
from instance_seg_ros.files.result_files import write_results
from instance_seg_ros.pipeline import Scene


@pytest.fixture
def results(tmp_path: Path, make_scene: Callable[..., Scene]) -> Path:
    write_results(make_scene(), tmp_path / "results")
    return tmp_path / "results"


def test_cloud_boxes_and_grasps_are_shown_where_they_are(results: Path, make_scene: Callable[..., Scene]) -> None:
    pytest.importorskip("open3d", exc_type=ImportError)
    from instance_seg_ros.commands.view import geometries

    scene = make_scene()
    [placed] = [each for each in scene.objects() if each.lifted.box is not None]
    cloud, box, *grasps = geometries(results, grasps=2)
    assert len(cloud.points) == np.count_nonzero(scene.frame.depth_m)
    assert np.asarray(box.points) == pytest.approx(placed.lifted.box.corners_m, abs=1e-6)
    assert len(grasps) == len(placed.grasps) == 2
    contacts_m = np.asarray(grasps[0].points)[:2]
    assert np.linalg.norm(contacts_m[1] - contacts_m[0]) == pytest.approx(placed.grasps[0].width_m, abs=1e-6)
    assert len(geometries(results, grasps=0)) == 2


def test_a_number_of_grasps_below_0_is_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(results), "--grasps", "-1"]) == EXIT_INPUT_ERROR
    assert "--grasps must be 0 or more, not -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "instances.json").unlink(), "a folder that segment wrote?"),
        (lambda folder: (folder / "instances.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "instances.json").write_text(json.dumps([1])), "is not what segment writes"),
        (lambda folder: (folder / "scene.ply").unlink(), "scene.ply is missing"),
        (lambda folder: None, "there is no screen here"),
    ],
)
def test_what_cannot_be_shown_is_told(
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
    told: str,
) -> None:
    pytest.importorskip("open3d", exc_type=ImportError)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    spoil(results)
    assert main(["view", str(results)]) == EXIT_INPUT_ERROR
    assert told in capsys.readouterr().err


def test_a_wrong_folder_is_told_before_what_is_to_be_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    assert main(["view", str(tmp_path / "nowhere")]) == EXIT_INPUT_ERROR
    told = capsys.readouterr().err
    assert "nowhere a folder that segment wrote?" in told and "pip install" not in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'open3d'", name="open3d"), f"{sys.executable} -m pip install open3d. "),
        (ImportError("libusb-1.0.so.0: cannot open shared object file"), "apt install libusb-1.0-0"),
    ],
)
def test_without_open3d_the_cure_is_told(
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: ImportError,
    told: str,
) -> None:
    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "open3d":
                raise error

    monkeypatch.delitem(sys.modules, "open3d", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    assert main(["view", str(results)]) == EXIT_INPUT_ERROR
    assert told in capsys.readouterr().err
