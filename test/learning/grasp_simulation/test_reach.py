"""The judge of how deep fingers reach, on solids whose depths are known, and the pipeline before it."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import GripperSettings, PipelineSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.grasping.grasp import Grasp
from instance_seg_ros.learning.grasp_simulation.objects import block, circle, prism, shape_of
from instance_seg_ros.learning.grasp_simulation.reach import (
    Reach,
    Solid,
    main,
    reaches,
    seen_of,
    swept_m,
    table,
)
from instance_seg_ros.learning.grasp_simulation.world import Block

TWO = shape_of("test", [block((0.04, 0.06, 0.02)), prism(circle(0.01), 0.02, 0.06)])
TURNED = trimesh.transformations.euler_matrix(0.3, -0.2, 1.1)


@pytest.mark.parametrize(
    ("place_m", "deep_m"),
    [
        ((0.0, 0.0, 0.01), 0.01),
        ((0.017, 0.0, 0.01), 0.003),
        ((0.0, 0.028, 0.01), 0.002),
        ((0.0, 0.0, 0.055), 0.005),
        ((0.0, 0.0, 0.061), 0.0),
        ((0.012, 0.0, 0.04), 0.0),
    ],
)
def test_depth_is_that_below_the_nearest_face_of_a_piece(place_m: tuple[float, float, float], deep_m: float) -> None:
    TURNED[:3, 3] = (0.3, -0.1, 0.2)
    solid = Solid.of_shape(TWO, TURNED)
    places_m = np.array([place_m, (0.5, 0.5, 0.5)]) @ TURNED[:3, :3].T + TURNED[:3, 3]
    assert solid.deepest_m(places_m) == pytest.approx(deep_m, abs=1e-4)


def test_of_a_wall_no_more_than_half_its_thickness_is_deep() -> None:
    wall = Solid.of_block(Block((0.4, 0.006, 0.1), (0.0, 0.2, 0.05)))
    line_m = np.column_stack([np.zeros(601), np.linspace(0.1, 0.3, 601), np.full(601, 0.05)])
    assert wall.deepest_m(line_m) == pytest.approx(0.003, abs=1e-4)


def test_what_is_swept_is_the_gripper_on_its_way_and_its_fingers_while_they_close() -> None:
    gripper, contacts_m = GripperSettings(), np.array([[-0.015, 0.0, 0.0], [0.015, 0.0, 0.0]])
    grasp = Grasp(Transform.identity(), 0.03, 0.06, 0.9, contacts_m, 0.1, 0.1, True)
    opened_m, closing_m = swept_m(gripper, grasp, True), swept_m(gripper, grasp, False)
    fingers_m = opened_m[opened_m[:, 2] > -gripper.finger_length_m + 1e-9]
    assert np.abs(fingers_m[:, 0]).min() == pytest.approx(0.03)
    assert np.abs(fingers_m[:, 0]).max() == pytest.approx(0.03 + gripper.finger_thickness_m)
    assert np.abs(closing_m[:, 0]).min() == pytest.approx(0.015)
    back_m = -gripper.finger_length_m - gripper.palm_depth_m - 0.1
    assert (opened_m[:, 2].min(), opened_m[:, 2].max()) == pytest.approx((back_m, 0.0))
    assert closing_m[:, 2].min() == pytest.approx(-gripper.finger_length_m)


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (Status.OK, "whole"),
        (Status.FOOT_NOT_SEEN, "whole"),
        (Status.OCCLUDED | Status.PARTLY_MEASURED, "hidden in part"),
        (Status.PARTLY_MEASURED, "measured in part"),
        (Status.CUT_BY_IMAGE_BORDER | Status.OCCLUDED, "cut by the border"),
    ],
)
def test_how_much_was_seen_is_told_by_the_status(status: Status, seen: str) -> None:
    assert seen_of(status) == seen


def test_the_table_counts_what_is_deeper_than_3_mm_and_in_walls_than_1() -> None:
    found = [
        Reach("pile", "whole", 0.0029, 0.0031, 0.0, 0.0011),
        Reach("pile", "whole", 0.012, 0.0, 0.0, 0.0009),
        Reach("shelf", "whole", 0.0, 0.0, 0.02, 0.0),
    ]
    rows = table(found, {("pile", "whole"): [True, False], ("shelf", "whole"): [True]}).splitlines()[2:]
    cells = [" ".join(row.split()) for row in rows]
    assert cells == [
        "pile whole 1 of 2 2 1, 12 mm 1, 3 mm 0 1, 1 mm",
        "shelf whole 1 of 1 1 0 0 1, 20 mm 0",
        "all whole 2 of 3 3 1, 12 mm 1, 3 mm 1, 20 mm 1, 1 mm",
    ]


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("cut", 9),  # a finger was 32 mm inside an egg of which half is hidden
        ("cut", 14),  # the palm 30 mm in a block that the border cuts
        ("shelf", 9),  # the palm in a wall that the board above hides
        ("shelf", 22),
        ("tote", 16),  # a finger 17 mm inside a cone of which its neighbour hides a part
    ],
)
def test_nothing_reaches_into_what_was_not_seen(kind: str, seed: int) -> None:
    found, with_grasp = reaches(kind, seed, PipelineSettings(), "active_stereo")
    assert with_grasp
    for each in found:
        assert max(each.own_m, each.masked_m, each.unmasked_m) < 0.004 and each.walls_m < 0.001, each


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--scenes", "1", "--kinds", "packed", "--seed", "3"])
    printed = capsys.readouterr().out
    assert "with a grasp" in printed and "1 scenes of each kind from seed 3" in printed


def test_a_kind_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--kinds", "pile,heap"])
    assert "--kinds must be of packed, pile, shelf, tote, cut, not heap" in capsys.readouterr().err
