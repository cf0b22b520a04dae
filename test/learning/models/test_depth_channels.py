from __future__ import annotations

import pytest
import torch

from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.models.depth_channels import (
    DepthChannels,
    fill_holes,
    local_relief,
    masked_median,
    surface_normals,
)

INTRINSICS = torch.tensor([[60.0, 60.0, 31.5, 23.5]])


def plane_depth(normal: tuple[float, float, float], distance_m: float) -> torch.Tensor:
    """z (1, 1, 48, 64) of the plane normal . p = -distance seen by INTRINSICS."""
    v, u = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    x, y = (u - 31.5) / 60.0, (v - 23.5) / 60.0
    return (-distance_m / (normal[0] * x + normal[1] * y + normal[2]))[None, None]


@pytest.mark.parametrize(
    "depth_m",
    [
        torch.zeros(2, 1, 48, 64),
        torch.full((2, 1, 48, 64), float("nan")),
        torch.full((2, 1, 48, 64), float("inf")),
        torch.full((2, 1, 48, 64), -1.0),
    ],
    ids=["zero", "nan", "inf", "negative"],
)
def test_an_image_without_measurement_gives_finite_channels_and_no_validity(depth_m: torch.Tensor) -> None:
    channels = DepthChannels()(depth_m, INTRINSICS.expand(2, -1))
    assert channels.shape == (2, CondInstConfig().input_channels, 48, 64)
    assert channels.isfinite().all()
    assert (channels[:, 7] == 0).all()


def test_a_single_measured_pixel_gives_finite_channels() -> None:
    depth_m = torch.zeros(1, 1, 48, 64)
    depth_m[0, 0, 5, 7] = 0.8
    channels = DepthChannels()(depth_m, INTRINSICS)
    assert channels.isfinite().all()
    assert channels[0, 7].sum() == 1


def test_z_is_centred_on_its_median_in_units_of_30_cm() -> None:
    depth_m = torch.full((1, 1, 48, 64), 1.0)
    depth_m[..., :20] = 0.7
    channels = DepthChannels()(depth_m, INTRINSICS)
    assert channels[0, 2, 30, 50] == pytest.approx(0.0, abs=1e-5)
    assert channels[0, 2, 30, 4] == pytest.approx(-1.0, abs=1e-5)


def test_the_input_does_not_depend_on_the_other_images_of_a_batch() -> None:
    depth_m = torch.rand(3, 1, 48, 64, generator=torch.Generator().manual_seed(1)) + 0.5
    together = DepthChannels()(depth_m, INTRINSICS.expand(3, -1))
    alone = DepthChannels()(depth_m[1:2], INTRINSICS)
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("normal", [(0.0, 0.0, -1.0), (0.0, -0.6, -0.8), (0.6, 0.0, -0.8)])
def test_a_plane_has_its_own_normal_and_no_relief(normal: tuple[float, float, float]) -> None:
    depth_m = plane_depth(normal, 0.8)
    channels = DepthChannels()(depth_m, INTRINSICS)
    inner = channels[0, :, 18:30, 18:46]
    expected = torch.tensor(normal).view(3, 1, 1).expand_as(inner[3:6])
    torch.testing.assert_close(inner[3:6], expected, atol=2e-2, rtol=0)
    assert inner[6].abs().max() < 0.05


@pytest.mark.parametrize("offset_m", [0.4, 0.8, 1.6])
def test_relief_is_the_height_above_a_plane_however_far(offset_m: float) -> None:
    depth_m = plane_depth((0.0, -0.6, -0.8), offset_m)
    bump = depth_m.clone()
    bump[..., 24, 32] -= 0.01
    assert local_relief(bump)[0, 0, 24, 32] == pytest.approx(0.01, rel=0.05)


def test_normals_point_towards_the_camera() -> None:
    v, u = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    xyz = torch.stack((u, v, torch.full_like(u, 5.0)))[None]
    assert (surface_normals(xyz)[0, 2] == -1).all()


@pytest.mark.parametrize(
    ("values", "valid", "expected"),
    [
        ([3.0, 1.0, 2.0], [1, 1, 1], 2.0),
        ([3.0, 1.0, 2.0, 9.0], [1, 1, 1, 1], 2.0),
        ([3.0, 1.0, 2.0], [1, 0, 0], 3.0),
        ([3.0, 1.0, 2.0], [0, 0, 0], 0.0),
    ],
)
def test_masked_median_is_the_lower_median_of_the_valid_values(
    values: list[float], valid: list[int], expected: float
) -> None:
    result = masked_median(torch.tensor(values).view(1, 1, -1), torch.tensor(valid).float().view(1, 1, -1))
    assert result.item() == expected


def test_holes_take_the_depth_around_them_and_measured_pixels_stay() -> None:
    depth_m = torch.full((1, 1, 32, 32), 0.9)
    depth_m[..., 10:20, 10:20] = 0
    valid = (depth_m > 0).float()
    filled_m = fill_holes(depth_m, valid)
    torch.testing.assert_close(filled_m, torch.full_like(filled_m, 0.9))
