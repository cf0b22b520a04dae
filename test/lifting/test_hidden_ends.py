"""Where objects are taken to end whose ends are hidden, and how far off that may be."""

from __future__ import annotations

import numpy as np
import pytest

from analytic_scenes import VGA
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.lifting.hidden_ends import HiddenEnds, expected_rest_m, likely_ends
from instance_seg_ros.lifting.solid import Body

LOW_M, HIGH_M, TOP_M = np.array([-0.05, -0.03]), np.array([0.05, 0.03]), 0.06
"""Of what is seen of the object: 100 x 60 mm, 60 mm high."""
FOOT_M = np.array([0.0, 0.1, 0.8])
"""Of its middle; the camera looks level, and sees its front."""
SIDE_TO_THE_CAMERA = np.array([0.0, -1.0, 0.0])


@pytest.mark.parametrize(
    ("seen_m", "room_m"), [(0.1, 0.15), (0.1, 0.01), (0.03, 0.22), (0.02, 0.23), (0.001, 0.249), (0.01, 0.005)]
)
def test_the_rest_of_a_length_is_that_of_its_density(seen_m: float, room_m: float) -> None:
    lengths_m = np.linspace(seen_m, seen_m + room_m, 200_001)
    weights = 1 / np.maximum(lengths_m, 0.03) ** 2
    mean_m = np.average(lengths_m, weights=weights)
    deviation_m = np.sqrt(np.average((lengths_m - mean_m) ** 2, weights=weights))
    assert expected_rest_m(seen_m, room_m) == pytest.approx((mean_m - seen_m, deviation_m), rel=1e-3)


def test_without_room_nothing_is_hidden() -> None:
    assert expected_rest_m(0.1, 0.0) == (0.0, 0.0)


def ends(
    nearer: tuple[slice, slice] | None = None,
    normal: np.ndarray = SIDE_TO_THE_CAMERA,
    outline_known: bool = False,
    top_known: bool = False,
    front_only: bool = False,
    middle_m: np.ndarray = FOOT_M,
) -> HiddenEnds:
    """Of a body before a wall 1.5 m away, where some pixels (rows, columns) are 0.5 m away."""
    depth_m = np.full((VGA.height, VGA.width), 1.5, np.float32)
    rows, columns = np.mgrid[: VGA.height, : VGA.width]
    # Up is -y of the camera: the face towards it, at its depth less half of the narrow side.
    front_m = middle_m[2] - 0.03
    x_m, y_m = (columns - VGA.cx) / VGA.fx * front_m, (rows - VGA.cy) / VGA.fy * front_m
    mask = (np.abs(x_m - middle_m[0]) <= 0.05) & (y_m <= middle_m[1]) & (y_m >= middle_m[1] - TOP_M)
    depth_m[mask] = front_m
    if nearer is not None:
        depth_m[nearer], mask[nearer] = 0.5, False
    basis = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    body = Body(np.zeros((100, 3)), np.tile(normal, (100, 1)), TOP_M, basis, middle_m)
    frame = RgbdFrame(None, depth_m, VGA)
    return likely_ends(body, np.eye(2), LOW_M, HIGH_M, frame, mask, outline_known, top_known, front_only)


def test_an_object_that_is_seen_whole_ends_where_it_was_seen_to_end() -> None:
    found = ends()
    assert found.low_m.tolist() == LOW_M.tolist() and found.high_m.tolist() == HIGH_M.tolist()
    assert found.rise_m == 0 and not found.deviation_m.any()


RIGHT, LEFT, ABOVE = np.s_[:, 357:], np.s_[:, :283], np.s_[:269, :]
AT_THE_BORDER_M, AT_ITS_HEIGHT_M = np.array([0.385, 0.1, 0.8]), np.array([0.0, 0.03, 0.8])
UP = np.array([0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ({"nearer": RIGHT}, {"x+"}),
        ({"nearer": LEFT}, {"x-"}),
        ({"middle_m": AT_THE_BORDER_M}, {"x+"}),
        ({"nearer": ABOVE}, {"top"}),
        ({"nearer": ABOVE, "top_known": True}, set()),  # another one stands on it
        ({"nearer": ABOVE, "normal": UP}, set()),  # it is seen to be level there
        ({"nearer": RIGHT, "outline_known": True}, set()),
        ({"front_only": True, "middle_m": AT_ITS_HEIGHT_M}, {"y+"}),  # away from the camera
    ],
    ids=["right", "left", "border", "above", "below another", "top seen", "round", "front"],
)
def test_an_end_that_is_hidden_is_counted_on_farther_out_and_is_less_certain(
    given: dict[str, object], moved: set[str]
) -> None:
    found = ends(**given)  # type: ignore[arg-type]
    by_m = {
        "x-": LOW_M[0] - found.low_m[0],
        "x+": found.high_m[0] - HIGH_M[0],
        "y-": LOW_M[1] - found.low_m[1],
        "y+": found.high_m[1] - HIGH_M[1],
        "top": found.rise_m,
    }
    assert {name for name, value in by_m.items() if value > 0.01} == moved
    assert {name for name, value in by_m.items() if value != 0} == moved
    axes = {{"x": 0, "y": 1, "t": 2}[name[0]] for name in moved}
    assert {int(axis) for axis in np.flatnonzero(found.deviation_m > 0.005)} == axes


def test_an_object_goes_on_no_farther_than_free_space_is_seen() -> None:
    narrow = ends(nearer=np.s_[:, 357:372])  # 20 mm
    assert 0.004 < narrow.high_m[0] - HIGH_M[0] < 0.012
    assert 0 < narrow.deviation_m[0] < 0.004


def test_between_two_hidden_ends_the_middle_stays_and_is_not_certain() -> None:
    found = ends(nearer=(slice(None), np.r_[:283, 357:640]))  # type: ignore[arg-type]
    assert found.low_m[0] + found.high_m[0] == pytest.approx(0, abs=0.002)
    assert found.high_m[0] > HIGH_M[0] + 0.01 and found.deviation_m[0] > 0.005
