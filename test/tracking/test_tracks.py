"""What becomes of tracks from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.tracking.motion import LONGEST_UNSEEN_S
from instance_seg_ros.tracking.sightings import POINTS, RAYS, Sightings
from instance_seg_ros.tracking.tracks import begun, expected

SEEN = Sightings(
    place_m=np.array([[0.0, 0.0, 1.0]]),
    covariance_m2=1e-6 * np.eye(3)[None],
    rotation=np.eye(3)[None],
    box_m=np.zeros((1, 3)),
    half_m=np.full((1, 3), 0.03),
    at_least_m=np.full((1, 3), 0.06),
    at_most_m=np.full((1, 3), 0.06),
    points_m=np.zeros((1, POINTS, 3)),
    point_colors=np.full((1, POINTS, 3), 0.5),
    color=np.full((1, 3), 0.5),
    rays=np.full((1, RAYS, 3), np.nan),
    rough_m=np.full((1, 3), np.nan),
    partial=np.array([False]),
    pixels=np.array([400.0]),
    masks=np.zeros((1, 6, 8), dtype=bool),
)


@pytest.mark.parametrize(
    ("steps", "step_s", "number", "unseen_s"),
    [
        (1, 0.4, 1, 0.4),
        (4, 0.1, 1, 0.4),
        (1, 1.0, 1, LONGEST_UNSEEN_S),
        (1, 3600.0, 1, LONGEST_UNSEEN_S),
        (600, 0.1, 1, LONGEST_UNSEEN_S),  # hidden for a minute
        (600, 0.1, 2, 0.0),  # the camera is elsewhere
    ],
)
def test_a_track_that_is_not_seen_grows_less_sure_for_a_second_and_then_no_more(
    steps: int, step_s: float, number: int, unseen_s: float
) -> None:
    tracks = once = begun(SEEN, np.array([1]), 1, 1)
    for _ in range(steps):
        tracks = expected(tracks, number, step_s, (6, 8))
    once = expected(once, 1, unseen_s, (6, 8))
    np.testing.assert_allclose(tracks.unseen_s, [unseen_s])
    np.testing.assert_allclose(tracks.look.sigma_m, once.look.sigma_m)
    assert tracks.look.sigma_m[0] < 0.025
