"""Completed shapes: closed meshes around what was measured, whatever the solid is."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from analytic_scenes import VGA, AnalyticScene, Body, Box, Cylinder, Sphere, look_at, upright
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting import Instance3D, Lifter, solid
from instance_seg_ros.lifting.columns import Columns
from instance_seg_ros.lifting.mesh import ShapeMesh, mesh_of

BODIES: dict[str, tuple[Body, float]] = {
    "box": (Box((0.12, 0.07, 0.05), upright(0, 0, 0.025, 30)), 0.12 * 0.07 * 0.05),
    "can": (Cylinder(0.035, 0.1, upright(0, 0, 0.05)), np.pi * 0.035**2 * 0.1),
    "ball": (Sphere(0.04, upright(0, 0, 0.04)), 4 / 3 * np.pi * 0.04**3),
}


def lifted(body: Body, *, completed_shapes: bool = True) -> Instance3D:
    frame, labels = AnalyticScene([body], look_at((0, 0, 0.03), 0.7, 40)).render(0.001)
    settings = LiftingSettings(completed_shapes=completed_shapes)
    return Lifter(settings).lift(frame, Instances.from_labels(labels)).instances[0]


@pytest.mark.parametrize("name", BODIES)
def test_the_shape_is_closed_and_has_the_volume_and_the_extent_of_the_object(name: str) -> None:
    body, volume_m3 = BODIES[name]
    instance = lifted(body)
    assert instance.mesh is not None and instance.box is not None
    mesh = trimesh.Trimesh(instance.mesh.vertices_m, instance.mesh.triangles, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(volume_m3, rel=0.15)
    np.testing.assert_allclose(mesh.bounds[1], instance.box.size_m / 2, atol=0.008)
    np.testing.assert_allclose(mesh.bounds[0], -instance.box.size_m / 2, atol=0.008)
    in_camera_m = instance.box.T_camera_box.apply(np.asarray(mesh.center_mass))
    np.testing.assert_allclose(in_camera_m, instance.centroid_m, atol=0.004)


@pytest.mark.parametrize("name", BODIES)
def test_the_side_towards_the_camera_was_measured_and_the_other_is_assumed(name: str) -> None:
    instance = lifted(BODIES[name][0])
    assert instance.mesh is not None and instance.box is not None
    in_camera_m = instance.box.T_camera_box.apply(instance.mesh.vertices_m)
    measured_m, assumed_m = (in_camera_m[chosen] for chosen in (instance.mesh.measured, ~instance.mesh.measured))
    assert len(measured_m) > 10 and len(assumed_m) > 10
    assert measured_m[:, 2].mean() < assumed_m[:, 2].mean() - 0.01


@pytest.mark.parametrize("across", [1, 11, 12, 13, 17, 23, 24])
@pytest.mark.parametrize("along", [13, 24])
def test_columns_that_are_drawn_together_keep_their_places(across: int, along: int) -> None:
    """The last one of a side is lower than the others, by a step that is seen where it is."""
    low_m, size_m = np.array([-0.06, -0.04]), np.array([0.12, 0.08])
    tops_m = np.full((across, along), 0.05)
    tops_m[-1] = 0.02
    columns = Columns(np.eye(2), low_m, size_m, np.zeros_like(tops_m), tops_m)
    body = solid.Body(np.zeros((1, 3)), np.zeros((1, 3)), 0.05, np.eye(3), np.zeros(3))
    frame = RgbdFrame(None, np.zeros((VGA.height, VGA.width), np.float32), VGA)
    box = OrientedBox(Transform(np.eye(3), np.zeros(3)), np.array([0.12, 0.08, 0.05]))
    shape = mesh_of(columns, body, box, frame, np.zeros(frame.depth_m.shape, dtype=bool))
    places = (shape.vertices_m[:, :2] - low_m) / size_m * [across, along]
    np.testing.assert_allclose(places, np.rint(places), atol=1e-5)
    mesh = trimesh.Trimesh(shape.vertices_m, shape.triangles, process=False)
    assert mesh.is_watertight
    volume_m3 = tops_m.mean() * 0.12 * 0.08
    assert mesh.volume == pytest.approx(volume_m3, rel=0.03 if across > 1 else 1e-5)


def test_a_shape_is_a_few_kb() -> None:
    for body, _ in BODIES.values():
        shape = lifted(body).mesh
        assert shape is not None
        assert shape.vertices_m.nbytes + shape.triangles.nbytes + shape.measured.nbytes < 12_000


def test_there_is_no_shape_unless_it_is_asked_for() -> None:
    assert lifted(BODIES["box"][0], completed_shapes=False).mesh is None


@pytest.mark.parametrize(
    ("vertices", "triangles", "measured", "message"),
    [
        (np.zeros((3, 2), np.float32), np.zeros((1, 3), np.uint16), np.zeros(3, bool), "vertices_m must be"),
        (np.zeros((3, 3)), np.zeros((1, 3), np.uint16), np.zeros(3, bool), "float64"),
        (np.zeros((3, 3), np.float32), np.zeros((1, 3), np.int64), np.zeros(3, bool), "triangles must be"),
        (np.zeros((3, 3), np.float32), np.full((1, 3), 3, np.uint16), np.zeros(3, bool), "vertex 3 of 3"),
        (np.zeros((3, 3), np.float32), np.zeros((1, 3), np.uint16), np.zeros(2, bool), r"measured must be \(3,\)"),
    ],
)
def test_a_shape_that_contradicts_itself_is_refused(
    vertices: np.ndarray, triangles: np.ndarray, measured: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ShapeMesh(vertices, triangles, measured)
