"""An object cut out of a rectangle by depth: on a table that is known or not, beside others, and where nothing is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Plane
from instance_seg_ros.core.parameters import LiftingSettings
from instance_seg_ros.lifting.box_prompt import cut_out

TABLE = Plane(np.array([0.0, 0.0, -1.0]), 0.8)
FIRST, SECOND = (20, 30, 60, 80), (90, 40, 130, 70)  # of make_frame

Box = tuple[int, int, int, int]


def rectangle(box: Box) -> np.ndarray:
    x0, y0, x1, y1 = box
    mask = np.zeros((120, 160), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("box", "expected", "planes"),
    [
        (FIRST, FIRST, [TABLE]),
        (FIRST, FIRST, []),
        ((10, 20, 70, 90), FIRST, [TABLE]),
        ((10, 20, 70, 90), FIRST, []),
        ((-40, 20, 70, 400), FIRST, [TABLE]),
        ((80, 30, 140, 80), SECOND, [TABLE]),
        ((80, 30, 140, 80), SECOND, []),
        ((0, 0, 100, 120), FIRST, [TABLE]),  # the second one is cut and far from the centre
        ((30, 40, 50, 70), (30, 40, 50, 70), [TABLE]),  # never beyond the rectangle
    ],
)
def test_the_object_in_a_rectangle_is_cut_out(
    box: Box, expected: Box, planes: list[Plane], make_frame: Callable[..., RgbdFrame]
) -> None:
    mask = cut_out(make_frame(), box, planes, LiftingSettings())
    wanted = rectangle(expected)
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.9


@pytest.mark.parametrize("box", [(0, 0, 18, 28), (200, 10, 300, 50), (20, 30, 20, 80), (60, 80, 20, 30)])
def test_where_nothing_stands_out_the_mask_is_empty(box: Box, make_frame: Callable[..., RgbdFrame]) -> None:
    assert not cut_out(make_frame(), box, [TABLE], LiftingSettings()).any()


def test_one_of_two_that_touch_in_the_image_is_taken_where_the_depth_steps(
    make_frame: Callable[..., RgbdFrame],
) -> None:
    frame = make_frame()
    depth_m = np.full_like(frame.depth_m, 0.8)
    depth_m[40:80, 40:80] = 0.7
    depth_m[40:80, 80:100] = 0.6
    touching = RgbdFrame(None, depth_m, frame.intrinsics)
    mask = cut_out(touching, (30, 30, 90, 90), [TABLE], LiftingSettings())
    wanted = rectangle((40, 40, 80, 80))
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.9


def test_without_depth_there_is_nothing(make_frame: Callable[..., RgbdFrame]) -> None:
    frame = make_frame()
    dark = RgbdFrame(None, np.zeros_like(frame.depth_m), frame.intrinsics)
    assert not cut_out(dark, FIRST, [], LiftingSettings()).any()
