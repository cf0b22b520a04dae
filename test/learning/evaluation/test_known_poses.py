"""Solids of known size laid through points, against poses that are known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from analytic_scenes import AnalyticScene, Box, Cylinder, look_at, upright
from instance_seg_ros.files.captures import write_capture
from instance_seg_ros.learning.evaluation.known_poses import CANS, MOST_MISFIT, Solid, fitted, main

CRACKERS = Box((0.06, 0.158, 0.21), upright(0, -0.12, 0.105, 30))
CAN = Cylinder(0.033, 0.101, upright(0, 0.12, 0.0505))
SCENE = AnalyticScene([CRACKERS, CAN], look_at((0, 0, 0.08), 0.8, 40))


@pytest.mark.parametrize(
    ("is_can", "point_m", "distance_m"),
    [
        (False, (0.0, 0, 0), -0.02),
        (False, (0.05, 0, 0), 0.03),
        (False, (0.05, 0.07, 0), 0.05),  # from an edge
        (True, (0.0, 0, 0), -0.02),
        (True, (0.03, 0.04, 0), 0.03),
        (True, (0.03, 0.04, 0.1), 0.05),
        (True, (0.0, 0, 0.1), 0.04),
    ],
)
def test_distances_are_from_the_surface(is_can: bool, point_m: tuple[float, ...], distance_m: float) -> None:
    solid = Solid(np.array([0.02, 0.02 if is_can else 0.03, 0.06]), is_can)
    assert solid.distance_m(np.array([point_m])) == pytest.approx([distance_m])


@pytest.mark.parametrize("name", ["cracker_box", "tuna_fish_can"])
def test_samples_lie_on_the_surface_and_their_normals_lead_away_from_it(name: str) -> None:
    solid = Solid.of(name)
    points_m, normals = solid.samples(np.random.default_rng(0))
    np.testing.assert_allclose(solid.distance_m(points_m), 0, atol=1e-12)
    np.testing.assert_allclose(solid.distance_m(points_m + 0.01 * normals), 0.01, atol=1e-12)
    assert solid.is_can is (name in CANS)


@pytest.mark.parametrize(("label", "name", "true"), [(1, "cracker_box", CRACKERS), (2, "tomato_soup_can", CAN)])
def test_a_solid_is_found_where_it_is(label: int, name: str, true: Box | Cylinder) -> None:
    frame, labels = SCENE.render(0.001)
    fit = fitted(Solid.of(name), frame, labels == label)
    assert fit is not None and fit[1] < MOST_MISFIT
    centre_m = SCENE.T_world_camera.inverse().apply(true.T_world_body.translation_m)
    assert np.linalg.norm(fit[0].translation_m - centre_m) < 0.002


def test_a_solid_of_another_size_does_not_fit() -> None:
    frame, labels = SCENE.render(0.001)
    fit = fitted(Solid.of("sugar_box"), frame, labels == 1)
    assert fit is not None and fit[1] > MOST_MISFIT
    assert fitted(Solid.of("sugar_box"), frame, labels == 9) is None  # nothing is seen of it


def write(folder: Path, names: dict[int, str]) -> None:
    frame, labels = SCENE.render(0.001)
    instances = [{"id": label, "class_name": name} for label, name in names.items()]
    write_capture(folder, frame, labels.astype(np.uint16), extra={"instances": instances})


def test_the_command_compares_what_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {1: "sugar_box", 2: "tomato_soup_can"})
    main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "0 of 1" in printed and "1 of 1" in printed
    centre = re.search(r"status OK: 1 objects, centre off by ([\d.]+) / ", printed)
    assert centre is not None and float(centre.group(1)) < 4


def test_captures_without_such_objects_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {1: "scissors"})
    with pytest.raises(SystemExit, match="no labelled object"):
        main([str(tmp_path)])
    with pytest.raises(SystemExit, match="error: .* is not a folder"):
        main([str(tmp_path / "none")])
