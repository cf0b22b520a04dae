"""The judge of what is wrong in silence: what it calls wrong is, and its scenes are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_lifting import said_exactly

from instance_seg_ros.core.geometry import OrientedBox, Transform
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.core.status import Status
from instance_seg_ros.learning.evaluation.attack_views import MASKS, SHAPES, Attack, attacks
from instance_seg_ros.learning.evaluation.silence import Attacked, Verdict, attacked, box_verdict, main, table, verdict
from instance_seg_ros.lifting import Lifter


@pytest.fixture(scope="module")
def scenes() -> list[Attack]:
    return list(attacks(len(SHAPES), 3))


@pytest.mark.parametrize(
    ("off_m", "sigma_m", "taller_m", "lower_m", "status", "expected"),
    [
        (0.0, 0.001, 0.0, 0.0, Status.OK, Verdict.RIGHT),
        (0.0049, 0.0001, 0.0, 0.0, Status.OK, Verdict.RIGHT),  # less than 5 mm
        (0.006, 0.002, 0.0, 0.0, Status.OK, Verdict.RIGHT),  # 3 sigma
        (0.006, 0.0015, 0.0, 0.0, Status.OK, Verdict.CENTRE),  # 4 sigma
        (0.006, 0.0015, 0.0, 0.0, Status.OCCLUDED, Verdict.FLAGGED),
        (0.0, 0.001, 0.05, 0.0, Status.OK, Verdict.BOX),
        (0.0, 0.001, 0.0, 0.013, Status.OK, Verdict.BOX),
        (0.0, 0.001, 0.0, 0.011, Status.OK, Verdict.RIGHT),
    ],
)
def test_wrong_in_silence_is_what_is_off_beyond_what_is_said_and_has_no_flag(
    scenes: list[Attack],
    off_m: float,
    sigma_m: float,
    taller_m: float,
    lower_m: float,
    status: Status,
    expected: Verdict,
) -> None:
    scene = scenes[0].scene
    (true,) = scene.objects
    pose = true.box.T_camera_box
    up = pose.rotation[:, 2]
    box = OrientedBox(
        Transform(pose.rotation, pose.translation_m + (taller_m / 2 - lower_m) * up),
        true.box.size_m + np.array([0, 0, taller_m]),
    )
    said = replace(
        said_exactly(scene, true),
        centroid_m=true.centre_m + off_m * up,
        box=box,
        status=status,
        centroid_covariance_m2=np.eye(3) * sigma_m**2,
    )
    assert verdict(true, said, scene.T_world_camera) is expected


@pytest.mark.parametrize(
    ("taller_m", "least_m", "most_m", "expected"),
    [
        (0.0, 0.0, 0.0, Verdict.RIGHT),
        (0.05, 0.06, 0.0, Verdict.BOUNDED),  # too tall, but the smaller box is no taller than the object
        (0.05, 0.04, 0.02, Verdict.BOX),
        (-0.05, 0.0, 0.06, Verdict.BOUNDED),
        (-0.05, 0.01, 0.04, Verdict.BOX),
    ],
)
def test_a_box_that_is_far_off_is_not_silent_where_its_bounds_hold_the_object(
    scenes: list[Attack], taller_m: float, least_m: float, most_m: float, expected: Verdict
) -> None:
    """It ends below where the object does, and so do its bounds."""
    scene = scenes[0].scene
    (true,) = scene.objects
    up = true.box.T_camera_box.rotation[:, 2]

    def taller(by_m: float) -> OrientedBox:
        pose, size_m = true.box.T_camera_box, true.box.size_m + np.array([0, 0, by_m])
        return OrientedBox(Transform(pose.rotation, pose.translation_m + by_m / 2 * up), size_m)

    said = said_exactly(scene, true)
    bounds = {"inner_box": taller(taller_m - least_m), "outer_box": taller(taller_m + most_m)}
    found = replace(said, box=taller(taller_m), **bounds)
    assert box_verdict(true, found, scene.T_world_camera) is expected
    assert box_verdict(true, replace(found, outer_box=None), scene.T_world_camera) is not Verdict.BOUNDED


@pytest.mark.parametrize(
    ("inner_wider_m", "expected"),
    [
        (0.0, Verdict.BOUNDED),
        (0.04, Verdict.BOX),  # the bounds hold its height alone
    ],
)
def test_bounds_hold_every_side_that_is_far_off(scenes: list[Attack], inner_wider_m: float, expected: Verdict) -> None:
    scene = scenes[0].scene
    (true,) = scene.objects
    pose = true.box.T_camera_box

    def larger(wider_m: float, taller_m: float) -> OrientedBox:
        place = Transform(pose.rotation, pose.translation_m + taller_m / 2 * pose.rotation[:, 2])
        return OrientedBox(place, true.box.size_m + np.array([wider_m, wider_m, taller_m]))

    said = larger(0.05, 0.05)
    found = replace(said_exactly(scene, true), box=said, inner_box=larger(inner_wider_m, 0.0), outer_box=said)
    assert box_verdict(true, found, scene.T_world_camera) is expected


def test_a_box_with_its_horizontal_sides_the_other_way_round_is_the_same(scenes: list[Attack]) -> None:
    long = next(own.scene for own in scenes if np.ptp(own.scene.objects[0].box.size_m[:2]) > 0.03)
    (true,) = long.objects
    pose, quarter = true.box.T_camera_box, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = OrientedBox(Transform(pose.rotation @ quarter, pose.translation_m), true.box.size_m[[1, 0, 2]])
    said = replace(said_exactly(long, true), box=turned)
    assert box_verdict(true, said, long.T_world_camera) is Verdict.RIGHT


def test_scenes_are_what_they_say(scenes: list[Attack]) -> None:
    again = next(iter(attacks(1, 3)))
    np.testing.assert_array_equal(again.scene.frame.depth_m, scenes[0].scene.frame.depth_m)
    assert len({attack.scene.objects[0].family for attack in scenes}) == len(SHAPES)
    for attack in scenes:
        (true,) = attack.scene.objects
        assert true.bottom_height_m == pytest.approx(attack.held_m + attack.board_m, abs=1e-6)
        assert (true.visible < 0.95) <= (attack.in_front != "nothing")
        unmeasured = np.count_nonzero(attack.scene.frame.depth_m == 0)
        assert (unmeasured > 5000) >= (attack.in_front == "without depth")


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("exact", (10, 20), (30, 50)),
        ("eroded by 2 px", (12, 18), (32, 48)),
        ("grown by 3 px", (7, 23), (27, 53)),
        ("down by 4 px", (14, 24), (30, 50)),
        ("aside by 3 px", (10, 20), (33, 53)),
        ("up by 3 px", (7, 17), (30, 50)),
    ],
)
def test_masks_are_grown_and_moved(
    scenes: list[Attack], name: str, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    labels = np.zeros((60, 80), np.uint16)
    labels[10:20, 30:50] = 1
    at = np.nonzero(replace(scenes[0], scene=replace(scenes[0].scene, labels=labels)).mask(name))
    assert [(int(own.min()), int(own.max()) + 1) for own in at] == [rows, columns]


def test_what_is_found_is_counted_by_cause(scenes: list[Attack], capsys: pytest.CaptureFixture[str]) -> None:
    found = list(attacked(scenes[:1], Lifter(LiftingSettings()), ["exact"]))
    assert [(each.cause, each.mask) for each in found] == [(scenes[0].cause, "exact")]
    rows = table([*found, Attacked("can", "on the table", "exact", 45.0, Verdict.CENTRE, True)]).splitlines()
    assert next(row for row in rows if row.startswith("seen from 40")).split()[-2:] == ["1", "0"]
    main(["--scenes", "1", "--seed", "3"])
    assert f"1 scenes of seed 3, each under {len(MASKS)} masks" in capsys.readouterr().out
