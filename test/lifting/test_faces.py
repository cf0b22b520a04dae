"""The rectangle around a box by its faces, against boxes whose turn and sides are known."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.lifting.faces import rectangle_around
from instance_seg_ros.lifting.rectangle import smallest_rectangle
from instance_seg_ros.lifting.solid import Body

LONG_M, SHORT_M, TURN_DEG = 0.12, 0.08, 20.0
EACH = 200
"""Points of a face."""


def body_of(points_m: np.ndarray, normals: np.ndarray, turn_deg: float = TURN_DEG) -> Body:
    """A body of points and level normals (N, 2), turned about the vertical."""
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    turned = np.array([[cosine, sine], [-sine, cosine]])
    heights_m = np.linspace(0.01, 0.09, len(points_m))[:, None]
    return Body(
        np.hstack([points_m @ turned, heights_m]),
        np.hstack([normals @ turned, np.zeros((len(normals), 1))]),
        0.1,
        np.eye(3),
        np.zeros(3),
    )


def face(middle_m: tuple[float, float], wide_m: float, out: tuple[float, float], noise_m: np.ndarray) -> np.ndarray:
    """Points and normals (EACH, 4) of an upright face that is seen from above, with noise along its normal."""
    along = np.array([-out[1], out[0]])
    points_m = middle_m + np.linspace(-wide_m / 2, wide_m / 2, EACH)[:, None] * along + noise_m[:, None] * out
    return np.hstack([points_m, np.tile(out, (EACH, 1))])


def box_of(*others: np.ndarray, noise_m: float = 0.0, faces: int = 2) -> Body:
    """A box of 12 x 8 cm of which the camera sees the face at -x, the one at -y, and the corners of its top."""
    rng = np.random.default_rng(0)
    seen = [
        face((-LONG_M / 2, 0), SHORT_M, (-1.0, 0.0), noise_m * rng.normal(size=EACH)),
        face((0, -SHORT_M / 2), LONG_M, (0.0, -1.0), noise_m * rng.normal(size=EACH)),
    ]
    top = np.zeros((4, 4))
    top[:, :2] = np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]]) * [LONG_M / 2, SHORT_M / 2]
    rows = np.vstack([*seen[:faces], *others, top])
    return body_of(rows[:, :2], rows[:, 2:])


def sides_and_turn(body: Body) -> tuple[np.ndarray, np.ndarray, float]:
    found = rectangle_around(body.points_m[:, :2], body)
    turn_deg = np.degrees(np.arctan2(found.axes[0, 1], found.axes[0, 0])) % 180
    assert found.by_faces
    return found.low_m, found.high_m, turn_deg


def level_directions(*degrees: float, each: int) -> np.ndarray:
    angles = np.radians(np.repeat(degrees, each))
    return np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)


CIRCLE = 0.05 * level_directions(*range(0, 360, 1), each=1)[:, :2]


@pytest.mark.parametrize(
    ("normals", "by_faces"),
    [
        (level_directions(0, each=40), True),  # one face
        (level_directions(0, 90, each=40), True),  # two
        (level_directions(0, 90, each=14), False),  # 28 points
        (level_directions(0, 45, each=40), False),  # of an octagon
        (level_directions(*range(0, 180, 5), each=3), False),  # of a cylinder
        (np.concatenate([level_directions(0, 90, each=40), np.tile([0.0, 0, 1], (640, 1))]), True),
        (np.concatenate([level_directions(0, 90, each=40), np.tile([0.0, 0, 1], (800, 1))]), False),  # hardly seen
        (np.tile([0.7, 0.0, 0.714], (100, 1)), False),  # a slope
        # Directions that scatter tell the turn where a rectangle that is turned so is as small as any.
        (level_directions(-15, 0, 15, 75, 90, 105, each=40), True),
        (level_directions(-28, 0, 28, 62, 90, 118, each=40), False),
    ],
    ids=["face", "two", "few", "octagon", "cylinder", "top", "large top", "slope", "scattered", "in all directions"],
)
def test_normals_tell_whether_upright_faces_are_those_of_a_box(normals: np.ndarray, by_faces: bool) -> None:
    x_m, y_m = np.linspace(-LONG_M / 2, LONG_M / 2, len(normals)), np.full(len(normals), -SHORT_M / 2)
    y_m[::2] *= -1
    found = rectangle_around(np.stack([x_m, y_m], axis=1), Body(np.c_[x_m, y_m, y_m], normals, 0.1, *np.eye(4, 3)[:2]))
    assert found.by_faces is by_faces


def test_normals_that_scatter_do_not_turn_a_rectangle_into_a_larger_one() -> None:
    normals = level_directions(15, 30, 45, 105, 120, 135, each=40)
    outline_m = np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]]).repeat(60, axis=0) * [LONG_M / 2, 0.01]
    body = Body(np.c_[outline_m, np.zeros(240)], normals, 0.1, np.eye(3), np.zeros(3))
    assert not rectangle_around(outline_m, body).by_faces


@pytest.mark.parametrize("faces", [1, 2])
@pytest.mark.parametrize("noise_m", [0.0, 0.0015])
def test_a_box_is_as_its_faces_are_and_not_as_their_noise(noise_m: float, faces: int) -> None:
    body = box_of(noise_m=noise_m, faces=faces)
    low_m, high_m, turn_deg = sides_and_turn(body)
    assert turn_deg == pytest.approx(TURN_DEG, abs=0.1 + 400 * noise_m)
    assert low_m[0] == pytest.approx(-LONG_M / 2, abs=0.0003)
    if noise_m and faces == 2:
        _, low_of_points_m, _ = smallest_rectangle(body.points_m[:, :2])
        assert low_of_points_m[0] < -LONG_M / 2 - 0.0025
        assert low_m[1] == pytest.approx(-SHORT_M / 2, abs=0.0003)
    np.testing.assert_allclose(high_m, [LONG_M / 2, SHORT_M / 2], atol=0.002)


def test_a_face_that_neighbours_bend_does_not_turn_the_box() -> None:
    """A wave of 2 mm: the smallest rectangle leans on its crests."""
    wave_m = 0.002 * np.sin(np.linspace(0, 3 * np.pi, EACH))
    rows = np.vstack(
        [face((-LONG_M / 2, 0), SHORT_M, (-1, 0), -wave_m), face((0, -SHORT_M / 2), LONG_M, (0, -1), wave_m)]
    )
    body = body_of(rows[:, :2], rows[:, 2:])
    *_, turn_deg = sides_and_turn(body)
    assert turn_deg == pytest.approx(TURN_DEG, abs=1.0)


@pytest.mark.parametrize(
    ("other", "low_m"),
    [
        (np.array([[-LONG_M / 2 - 0.02, 0.0, 0.0, 0.0]] * 3), -LONG_M / 2 - 0.02),  # a handle
        (np.array([[-LONG_M / 2 - 0.02, 0.0, 0.0, 0.0]]), -LONG_M / 2),  # one pixel of something else
        (face((-0.01, 0.01), 0.04, (-1.0, 0.0), np.zeros(EACH)), -LONG_M / 2),  # the inside of a notch
        (face((-LONG_M / 2, 0), SHORT_M, (-1.0, 0.0), np.linspace(-0.012, 0.0, EACH)), -LONG_M / 2),  # a wedge
    ],
    ids=["handle", "spill", "notch", "wedge"],
)
def test_a_box_reaches_as_far_as_what_is_no_noise(other: np.ndarray, low_m: float) -> None:
    low, _, _ = sides_and_turn(box_of(other, noise_m=0.0003))
    assert low[0] == pytest.approx(low_m, abs=0.0015)


def test_what_was_not_measured_beside_a_face_makes_no_box_larger() -> None:
    body, beside_m = box_of(noise_m=0.0003), np.array([[-LONG_M / 2 - 0.008, 0.0], [LONG_M / 2 + 0.008, 0.0]])
    outline_m = np.vstack([body.points_m[:, :2], body_of(beside_m, np.zeros((2, 2))).points_m[:, :2].repeat(9, axis=0)])
    found = rectangle_around(outline_m, body)
    assert found.low_m[0] == pytest.approx(-LONG_M / 2, abs=0.0005)
    assert found.high_m[0] == pytest.approx(LONG_M / 2 + 0.008, abs=0.0005)  # no face is seen there


@pytest.mark.parametrize("off_deg", [-6.0, -3.0, 3.0, 6.0])
def test_lines_through_faces_tell_the_turn_where_all_normals_are_off(off_deg: float) -> None:
    body = box_of()
    cosine, sine = np.cos(np.radians(off_deg)), np.sin(np.radians(off_deg))
    normals = body.normals.copy()
    normals[:, :2] = normals[:, :2] @ np.array([[cosine, sine], [-sine, cosine]])
    *_, turn_deg = sides_and_turn(Body(body.points_m, normals, body.top_m, body.basis, body.origin_m))
    assert turn_deg == pytest.approx(TURN_DEG, abs=0.2)


def test_of_a_wedge_alone_the_outermost_counts() -> None:
    wedge = face((-LONG_M / 2, 0), SHORT_M, (-1.0, 0.0), np.linspace(-0.015, 0.0, EACH))
    front = face((0, -SHORT_M / 2), LONG_M, (0.0, -1.0), np.zeros(EACH))
    corner = np.array([[LONG_M / 2, SHORT_M / 2, 0.0, 0.0]])
    rows = np.vstack([wedge, front, front, front, corner])
    low_m, high_m, _ = sides_and_turn(body_of(rows[:, :2], rows[:, 2:]))
    np.testing.assert_allclose([low_m[0], high_m[0]], [-LONG_M / 2, LONG_M / 2], atol=0.002)
