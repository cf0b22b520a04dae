from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.files.result_files import ASSUMED_RGB, MEASURED_RGB, scene_document, write_results
from instance_seg_ros.lifting import ShapeMesh
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.drawing import color_of_track

MakeScene = Callable[..., Scene]


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is not JSON")


def read_ply(path: Path) -> np.ndarray:
    """The vertices of a binary little-endian PLY file, read by its own header."""
    types = {"float": "<f4", "uchar": "u1", "ushort": "<u2"}
    header, content = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    properties = [line.split() for line in lines if line.startswith("property")]
    count = next(int(line.split()[-1]) for line in lines if line.startswith("element vertex"))
    dtype = np.dtype([(name, types[kind]) for _, kind, name in properties])
    assert len(content) == count * dtype.itemsize
    return np.frombuffer(content, dtype=dtype)


def test_writes_the_four_files(make_scene: MakeScene, tmp_path: Path) -> None:
    files = write_results(make_scene(), tmp_path / "deep" / "out")
    assert [file.name for file in files] == ["overlay.png", "labels.png", "scene.ply", "instances.json"]
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == sorted(file.name for file in files)


def test_instances_json_has_the_promised_keys(make_scene: MakeScene, tmp_path: Path) -> None:
    write_results(make_scene(), tmp_path)
    document = json.loads((tmp_path / "instances.json").read_text(), parse_constant=refuse)
    assert document["image"] == [160, 120]
    block, unknown = document["instances"]
    assert block.keys() >= {
        "label", "class", "score", "bbox_xyxy", "points", "centroid_m", "surface_centroid_m", "box", "grasps",
    }  # fmt: skip
    assert (block["label"], block["track_id"], block["class"], block["score"]) == (1, 5, "object", 1.0)
    assert block["bbox_xyxy"] == [20, 30, 60, 80]
    assert (block["points"], block["points_rejected"]) == (2000, 7)
    assert block["centroid_m"][2] == pytest.approx(0.75)
    assert block["surface_centroid_m"][2] == pytest.approx(0.7)
    assert block["box"].keys() == {"center_m", "quaternion_xyzw", "size_m"}
    assert block["box"]["quaternion_xyzw"] == [0, 0, 0, 1]
    assert [grasp["quality"] for grasp in block["grasps"]] == [0.9, 0.4]
    assert block["grasps"][0].keys() >= {"position_m", "quaternion_xyzw", "width_m", "quality"}
    assert (block["status"], block["reason"]) == ([], None)
    assert (unknown["centroid_m"], unknown["surface_centroid_m"], unknown["box"], unknown["grasps"]) == (
        None,
        None,
        None,
        [],
    )
    assert unknown["status"] == ["too_few_points", "no_grasp_candidate"]
    assert "too few measured points" in unknown["reason"]
    assert "no two facing" in unknown["reason"]
    assert document["support_plane"] == {"normal": [0, 0, -1], "offset_m": 0.8}
    assert document["stage_times_s"]["segment"] == 0.05
    assert document["model"]["name"] == "by_hand"
    assert document["stamp_ns"] == 1_700_000_000_123_456_789


def test_grasps_are_given_in_the_robots_frame(make_scene: MakeScene) -> None:
    document = scene_document(make_scene(), GraspingSettings(tcp_to_flange_m=0.1))
    plain = scene_document(make_scene())
    z_m = [each["instances"][0]["grasps"][0]["position_m"][2] for each in (document, plain)]
    assert z_m[1] - z_m[0] == pytest.approx(0.1)


def test_labels_are_16_bit_and_equal_the_masks(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene()
    write_results(scene, tmp_path)
    labels = cv2.imread(str(tmp_path / "labels.png"), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint16
    assert np.array_equal(labels, scene.instances.label_image())
    assert labels[50, 40] == 1
    assert labels[50, 100] == 2
    assert labels[0, 0] == 0


def test_the_overlay_is_not_swapped_in_its_channels(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(empty=True)
    write_results(scene, tmp_path)
    overlay_rgb = cv2.imread(str(tmp_path / "overlay.png"))[..., ::-1]
    assert np.array_equal(overlay_rgb, scene.frame.color_rgb)


@pytest.mark.parametrize("color", [True, False])
def test_the_cloud_is_every_measured_point_with_colour_and_label(
    make_scene: MakeScene, tmp_path: Path, color: bool
) -> None:
    scene = make_scene(color)
    write_results(scene, tmp_path)
    vertices = read_ply(tmp_path / "scene.ply")
    assert len(vertices) == np.count_nonzero(scene.frame.depth_m)
    of_block = vertices[vertices["label"] == 1]
    assert len(of_block) == 2000
    points_m = np.stack([of_block[axis] for axis in "xyz"], axis=-1)
    np.testing.assert_array_equal(points_m, scene.lifted.instances[0].points_m)
    if color:
        assert (of_block["red"][0], of_block["green"][0], of_block["blue"][0]) == (200, 40, 40)
    else:
        background = vertices[vertices["label"] == 0][0]
        assert (background["red"], background["green"], background["blue"]) == (160, 160, 160)
        assert (of_block["red"][0], of_block["green"][0], of_block["blue"][0]) == color_of_track(scene.track_ids[0])


def test_an_empty_scene_has_all_files_too(make_scene: MakeScene, tmp_path: Path) -> None:
    write_results(make_scene(empty=True), tmp_path)
    document = json.loads((tmp_path / "instances.json").read_text())
    assert (document["instances"], document["support_plane"]) == ([], None)
    assert (read_ply(tmp_path / "scene.ply")["label"] == 0).all()


def test_a_scene_that_was_written_in_part_leaves_no_list_of_the_one_before(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(make_scene(), tmp_path)
    monkeypatch.setattr("instance_seg_ros.files.result_files.ply_bytes", lambda cloud: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_results(make_scene(empty=True), tmp_path)
    assert not (tmp_path / "instances.json").exists()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "instances.json"
    write_atomically(target, b"before")

    def fail(source: object, destination: object) -> None:
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr("instance_seg_ros.files.atomic.os.replace", fail)
    with pytest.raises(OSError, match="full"):
        write_atomically(target, b"after")
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_told_with_the_files_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(tmp_path / "scene.ply", b"much")
    assert caught.value.filename == str(tmp_path / "scene.ply")
    assert not list(tmp_path.iterdir())


TETRAHEDRON = ShapeMesh(
    np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.uint16),
    np.array([True, False, False, True]),
)


def test_completed_shapes_are_a_ply_of_measured_and_assumed_vertices(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene()
    block, _ = scene.lifted.instances
    assert block.box is not None
    moved = OrientedBox(Transform(np.eye(3), np.array([0.2, -0.1, 0.9])), np.full(3, 0.1))
    both = replace(block, mesh=TETRAHEDRON), replace(block, mesh=TETRAHEDRON, box=moved)
    shaped = replace(scene, lifted=replace(scene.lifted, instances=both))
    assert tmp_path / "shapes.ply" in write_results(shaped, tmp_path)

    mesh = trimesh.load(tmp_path / "shapes.ply", process=False)
    np.testing.assert_array_equal(mesh.faces, [*TETRAHEDRON.triangles, *(TETRAHEDRON.triangles + 4)])
    vertices_m = [box.T_camera_box.apply(TETRAHEDRON.vertices_m) for box in (block.box, moved)]
    np.testing.assert_allclose(mesh.vertices, np.concatenate(vertices_m), atol=1e-6)
    vertices = mesh.metadata["_ply_raw"]["vertex"]["data"]
    assert vertices["measured"].ravel().tolist() == [1, 0, 0, 1] * 2
    assert vertices["label"].ravel().tolist() == [1] * 4 + [2] * 4
    assert mesh.visual.vertex_colors[:, :3].tolist() == [
        list(MEASURED_RGB if measured else ASSUMED_RGB) for measured in (*TETRAHEDRON.measured, *TETRAHEDRON.measured)
    ]

    write_results(scene, tmp_path)
    assert not (tmp_path / "shapes.ply").exists(), "those of an earlier scene"
