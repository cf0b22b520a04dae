"""The benchmark of geometry: what it calls true is true, and what it calls an error is one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact_lifting import said_exactly

from instance_seg_ros.commands import main
from instance_seg_ros.commands.helpers import geometry_evaluation
from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.geometry import OrientedBox, Plane, Transform
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.geometry_errors import (
    RECIPES,
    ObjectError,
    error_rows,
    object_error,
    planes_right,
    scene_errors,
    silently_wrong,
)
from instance_seg_ros.learning.evaluation.geometry_scenes import KINDS, TrueScene, geometry_scenes, volume_centre_m
from instance_seg_ros.learning.synthetic.objects.shapes import box_mesh, join, lathe_mesh
from instance_seg_ros.lifting import Instance3D, LiftedFrame, Lifter


@pytest.fixture(scope="module")
def scenes() -> dict[str, TrueScene]:
    return {scene.kind: scene for scene in geometry_scenes(len(KINDS), 3)}


@pytest.mark.parametrize(
    ("mesh", "centre_m"),
    [
        (box_mesh((0.05, 0.03, 0.02), (0.1, 0.2, 0.3)), (0.1, 0.2, 0.3)),
        (lathe_mesh([[0, 0], [0.04, 0], [0, 0.12]]), (0, 0, 0.03)),  # a cone's lies at a quarter of its height
        # Two boxes that overlap by half are one of 0.15 m, not two of 0.1 m.
        (join([box_mesh((0.05, 0.02, 0.02)), box_mesh((0.05, 0.02, 0.02), (0.05, 0, 0))]), (0.025, 0, 0)),
        (join([box_mesh((0.1, 0.02, 0.02)), box_mesh((0.02, 0.02, 0.02), (0.05, 0, 0.01))]), (0.0024, 0, 0.0012)),
    ],
    ids=["box", "cone", "overlap", "step"],
)
def test_the_centre_of_a_volume_is_that_of_the_union_of_its_parts(mesh: object, centre_m: tuple[float, ...]) -> None:
    found = volume_centre_m(np.asarray(mesh.vertices), np.asarray(mesh.faces))  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, centre_m, atol=0.001)


def test_scenes_hold_what_their_kind_says(scenes: dict[str, TrueScene]) -> None:
    assert any(item.support == "object" for item in scenes["stack"].objects)
    assert any(item.support == "nothing" for item in scenes["held"].objects)
    assert any(item.cut > 0.05 for item in scenes["border"].objects)
    assert min(item.visible for item in scenes["crowd"].objects) < 0.9
    heights_m = {round(item.bottom_height_m, 3) for item in scenes["shelf"].objects}
    assert len(heights_m) == 2
    for scene in scenes.values():
        assert set(np.unique(scene.labels)) - {0} == {item.label for item in scene.objects}
        for item in scene.objects:
            assert 0 < item.visible <= 1.0 + 1e-9 and 0 <= item.cut <= 1 - item.visible + 1e-9
            assert (np.abs(item.box.T_camera_box.inverse().apply(item.centre_m)) <= item.box.size_m / 2).all()


def test_a_scene_depends_on_its_seed_and_number_alone(scenes: dict[str, TrueScene]) -> None:
    again = next(iter(geometry_scenes(1, 3)))
    np.testing.assert_array_equal(again.frame.depth_m, scenes["table"].frame.depth_m)
    assert not np.array_equal(next(iter(geometry_scenes(1, 4))).frame.depth_m, again.frame.depth_m)


def test_each_scene_has_a_camera_of_its_own_that_is_the_same_again() -> None:
    first, again = (list(geometry_scenes(3, 3, ("table",), sensor="any")) for _ in range(2))
    assert len({scene.noise_m for scene in first}) == 3
    for scene, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(scene.frame.depth_m, same.frame.depth_m)


def test_a_sensor_changes_how_depth_is_measured_and_nothing_else() -> None:
    (plain,), (seen,) = geometry_scenes(1, 3), geometry_scenes(1, 3, sensor="structured_light")
    np.testing.assert_array_equal(seen.labels, plain.labels)
    assert [item.centre_m.tolist() for item in seen.objects] == [item.centre_m.tolist() for item in plain.objects]
    both = (seen.frame.depth_m > 0) & (plain.frame.depth_m > 0)
    assert (seen.frame.depth_m == 0).sum() > (plain.frame.depth_m == 0).sum()
    assert 0 < np.median(np.abs(seen.frame.depth_m[both] - plain.frame.depth_m[both])) < 0.01


def test_depth_of_a_true_surface_is_that_of_the_frame(scenes: dict[str, TrueScene]) -> None:
    """Outer faces of upright boxes by their true pose, against what was measured under their masks."""
    checked = 0
    for scene in scenes.values():
        for item in scene.objects:
            if item.family not in ("box", "carton"):
                continue
            points_m = scene.frame.points_m[(scene.labels == item.label) & (scene.frame.depth_m > 0)]
            local_m = np.abs(item.box.T_camera_box.inverse().apply(points_m.astype(np.float64)))
            outside_m = (local_m - item.box.size_m / 2).max(axis=1)
            if item.support != "heap":
                assert np.percentile(np.abs(outside_m), 75) < 0.008
                checked += 1
    assert checked >= 3


def error_of(scene: TrueScene, instance: Instance3D) -> ObjectError:
    return object_error(scene, scene.objects[0], instance, scene.labels == scene.objects[0].label)


def test_the_truth_has_no_error_and_another_box_has_that_of_its_difference(scenes: dict[str, TrueScene]) -> None:
    scene = scenes["table"]
    exact = said_exactly(scene, scene.objects[0])
    error = error_of(scene, exact)
    assert error.centre_m == pytest.approx(0) and error.box_centre_m == pytest.approx(0, abs=1e-9)
    assert error.size == pytest.approx((0, 0, 0), abs=1e-9) and error.bottom_m == pytest.approx(0, abs=1e-9)
    assert error.bottom_right and min(error.recipes_m.values()) > 0.001
    pose, size_m = scene.objects[0].box.T_camera_box, scene.objects[0].box.size_m
    assert exact.centroid_m is not None
    lower = Transform(pose.rotation, pose.translation_m - 0.03 * pose.rotation[:, 2])
    off = replace(
        exact, box=OrientedBox(lower, size_m * [1, 1, 1.5]), centroid_m=exact.centroid_m + np.array([0, 0, 0.01])
    )
    error = error_of(scene, off)
    assert (error.centre_m, error.box_centre_m) == pytest.approx((0.01, 0.03), abs=1e-6)
    assert error.size == pytest.approx((0, 0, 0.5), abs=1e-6)
    assert error.bottom_m == pytest.approx(-0.03 - 0.25 * size_m[2], abs=1e-6) and not error.bottom_right


def test_a_box_whose_axes_are_named_otherwise_has_the_same_sides(scenes: dict[str, TrueScene]) -> None:
    scene = scenes["table"]
    pose, size_m = scene.objects[0].box.T_camera_box, scene.objects[0].box.size_m
    order = [1, 2, 0]  # its height is its second side
    named_otherwise = OrientedBox(Transform(pose.rotation[:, order], pose.translation_m), size_m[order])
    error = error_of(scene, replace(said_exactly(scene, scene.objects[0]), box=named_otherwise))
    assert error.size == pytest.approx((0, 0, 0), abs=1e-9)


def test_errors_are_told_in_the_deviations_along_the_axes_of_the_box(scenes: dict[str, TrueScene]) -> None:
    scene = scenes["table"]
    exact, axes = said_exactly(scene, scene.objects[0]), scene.objects[0].box.T_camera_box.rotation
    assert exact.centroid_m is not None
    assert np.abs(axes - axes.T).max() > 0.1  # that one of them is not taken for the other
    off = replace(
        exact,
        centroid_m=exact.centroid_m + axes @ [0.02, -0.03, 0.01],
        centroid_covariance_m2=axes @ np.diag([0.01, 0.03, 0.04]) ** 2 @ axes.T,
    )
    assert error_of(scene, off).sigmas == pytest.approx((2.0, 1.0, 0.25))


def test_simple_recipes_are_the_mean_of_what_is_seen_and_boxes_around_it_without_outliers() -> None:
    """An upright plate of 400 mm x 200 mm at 1 m, with a hole in its left half and one measurement far behind it."""
    camera = Intrinsics(64, 48, 100.0, 100.0, 29.5, 19.5)
    mask = np.zeros((48, 64), dtype=bool)
    mask[10:30, 10:50] = True
    depth_m = np.where(mask, np.random.default_rng(0).normal(1, 0.0005, mask.shape), 0).astype(np.float32)
    depth_m[15:25, 12:22] = 0  # of 800 points 100 that are 0.13 m left of the middle
    depth_m[19, 40] = 2.0
    frame = RgbdFrame(None, depth_m, camera)

    centres_m = {name: recipe(frame, mask) for name, recipe in RECIPES.items()}
    mean_m = np.array([(0.13 * 100 + 0.105) / 700, -0.005 / 700, 701 / 700])  # the stray point is twice as far off
    np.testing.assert_allclose(centres_m.pop("mean of the surface"), mean_m, atol=2e-4)
    for name, centre_m in centres_m.items():
        np.testing.assert_allclose(centre_m, [0, 0, 1], atol=2e-3, err_msg=name)


@pytest.mark.parametrize("rows", [1, 2])
def test_simple_recipes_have_a_middle_of_what_is_a_line_or_a_plane_as_well(rows: int) -> None:
    mask = np.zeros((48, 64), dtype=bool)
    mask[20 : 20 + rows, 10:50] = True
    frame = RgbdFrame(None, mask.astype(np.float32), Intrinsics(64, 48, 100.0, 100.0, 29.5, 19.5 + rows / 2))
    for recipe in RECIPES.values():
        np.testing.assert_allclose(recipe(frame, mask), [0, 0, 1], atol=1e-6)


def test_where_nothing_was_measured_simple_recipes_have_no_centre() -> None:
    frame = RgbdFrame(None, np.zeros((48, 64), np.float32), Intrinsics(64, 48, 100.0, 100.0, 31.5, 23.5))
    for recipe in RECIPES.values():
        assert np.isnan(recipe(frame, np.ones((48, 64), dtype=bool))).all()


def error(**changes: object) -> ObjectError:
    plain = ObjectError(
        *("table", "box", "plane", 1.0, 0.0, 0.7, True, 0.01, 0.02, (0.1, 0.2, 0.3), 0.0, True, True, Status.OK),
        {"mean of the surface": 0.02, "box along principal axes": 0.03, "smallest box": 0.04},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_figures_are_medians_and_shares_of_the_groups() -> None:
    rows = {
        row.name: row
        for row in error_rows(
            [error(), error(centre_m=0.03, bottom_m=-0.05, bottom_right=False), error(visible=0.5, family="can")]
        )
    }
    assert rows["all"].count == 3 and rows["all"].centre_mm == pytest.approx((10, 26))
    assert rows["all"].invented == pytest.approx(100 / 3) and rows["all"].bottom_right == pytest.approx(200 / 3)
    assert (rows["all"].recipe, rows["all"].recipe_mm) == ("mean of the surface", pytest.approx(20))
    assert rows["half hidden: 35 to 65 % visible"].count == rows["family: can"].count == 1
    assert rows["all"].worst_side == pytest.approx((30, 30)) and "held" not in rows


def test_objects_without_a_centre_have_no_error_and_are_told_of() -> None:
    unknown = float("nan")
    lost = error(lifted=False, centre_m=unknown, box_centre_m=unknown, size=(unknown,) * 3, bottom_right=False)
    (row, *_), (whole, *_) = error_rows([error(), error(), lost]), error_rows([error()])
    assert row.centre_mm == pytest.approx((10, 10)) and row.bottom_right == pytest.approx(200 / 3)
    assert (geometry_evaluation._cells(row)[1], geometry_evaluation._cells(whole)[1]) == ("2 of 3", "1")


def test_silently_wrong_is_what_has_status_ok_and_a_centre_more_than_2_cm_off() -> None:
    errors = [error(), error(centre_m=0.0201), error(centre_m=0.02), error(centre_m=0.05, status=Status.OCCLUDED)]
    assert silently_wrong(errors) == (3, 1)


def test_the_command_prints_the_tables_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["eval", "--geometry", "--scenes", "2", "--seed", "3", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "whole: 95 % visible or more" in out and "2 scenes of seed 3 seen by the plain sensor" in out
    content = json.loads((tmp_path / "geometry.json").read_text())
    fine = sum(own["status"] == 0 for own in content["objects"])
    assert f"status OK: {fine} objects" in out
    assert content["rows"][0]["count"] == len(content["objects"]) > 2
    assert (tmp_path / "geometry.png").stat().st_size > 1000


def test_the_command_tells_what_is_published_under_the_masks_of_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--geometry", "--masks", "network", "--backend", "onnxruntime", "--scenes", "1", "--seed", "3"
    assert main.main(["eval", *options, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "several objects as one" in out and "objects under the masks of tabletop_rgbd" in out
    content = json.loads((tmp_path / "geometry.json").read_text())
    assert content["masks"] == "tabletop_rgbd" and content["objects"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenes", "0"], "--scenes must be 1 or more"),
        (["--model", "a.onnx"], "--model cannot be used with --geometry"),
        (["--limit", "5", "--worst", "3"], "--limit, --worst cannot be used with --geometry"),
        (["--sequences", "2"], "--sequences cannot be used with --geometry"),
        (["--tracking-max-distance-m", "0.2"], "--tracking-max-distance-m cannot be used with --geometry"),
        (["--score-threshold", "0.7"], "--score-threshold cannot be used with --geometry without --masks network"),
        (["--masks", "network", "--model", "none.onnx"], "none.onnx"),
        (
            ["--sensor", "lidar"],
            "must be one of plain, structured_light, active_stereo, time_of_flight, any, not lidar",
        ),
        (["--depth-missing", "all"], "--depth-missing cannot be used with --geometry"),
        (["--lifting-min-points", "0"], "min_points"),
    ],
)
def test_options_that_cannot_be_are_named(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["eval", "--geometry", *options]) == 2
    assert message in capsys.readouterr().err


class Tilted(Lifter):
    """Lifts as ever, but says that the support plane lies 20 mm higher and leans by 3 degrees about the objects."""

    def __init__(self, scene: TrueScene) -> None:
        super().__init__(LiftingSettings())
        assert scene.support_height_m is not None
        middle_m = scene.T_world_camera.apply(np.mean([item.centre_m for item in scene.objects], axis=0))
        to_camera, lean = scene.T_world_camera.inverse(), np.radians(3)
        normal = to_camera.rotation @ np.array([np.sin(lean), 0, np.cos(lean)])
        at_m = to_camera.apply(np.array([*middle_m[:2], scene.support_height_m])) + 0.02 * normal
        self.plane = Plane(normal, float(-normal @ at_m))

    def lift(self, *args: Any) -> LiftedFrame:
        return replace(super().lift(*args), support_plane=self.plane)


def test_a_support_plane_is_off_by_its_distance_at_the_objects_and_its_angle(scenes: dict[str, TrueScene]) -> None:
    scene = scenes["table"]
    _, error = scene_errors(scene, Tilted(scene))
    assert error is not None
    assert (error.found, error.distance_m, error.angle_deg) == (True, pytest.approx(0.02), pytest.approx(3))
    assert error.informed_distance_m < 0.001 and error.informed_angle_deg < 0.2
    assert planes_right([error], 0.021, 3.1) == (100, 100)
    assert planes_right([error], 0.019, 3.1) == planes_right([error], 0.021, 2.9) == (0, 100)
    assert planes_right([error], 0.021, 1e-4) == (0, 0)


def test_lifting_is_nearer_to_the_truth_than_the_simple_recipes(scenes: dict[str, TrueScene]) -> None:
    errors, plane = scene_errors(scenes["table"], Lifter(LiftingSettings()))
    row = error_rows(errors)[0]
    assert row.lifted == row.count and row.centre_mm[0] < row.recipe_mm
    assert plane is not None and plane.found and plane.distance_m < 0.002 and plane.angle_deg < 0.5
