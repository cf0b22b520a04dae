from __future__ import annotations

import torch

from instance_seg_ros.learning.models.layers import aligned_upsample
from instance_seg_ros.learning.models.mask_upsampling import MaskUpsampling, upsample_masks


def _new(height: int = 5, width: int = 6) -> torch.Tensor:
    module = MaskUpsampling(stem_channels=4, color_channels=3, mask_channels=8).eval()
    stem, color = torch.rand(1, 4, 2 * height, 2 * width), torch.rand(1, 3, 2 * height, 2 * width)
    return module(stem, color, torch.rand(1, 8, height, width))[0].detach()


def test_weights_are_positive_and_sum_to_one() -> None:
    weights = _new()
    assert weights.shape == (9, 2, 2, 5, 6)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(2, 2, 5, 6))


def test_a_new_network_upsamples_bilinearly() -> None:
    masks = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = aligned_upsample(masks.unsqueeze(1), 2).squeeze(1)
    torch.testing.assert_close(upsample_masks(masks, _new()), expected, atol=0.02, rtol=0)


def test_a_fine_pixel_takes_the_neighbour_that_its_weights_name() -> None:
    masks = torch.arange(6.0).view(1, 2, 3)
    weights = torch.zeros(9, 2, 2, 2, 3)
    weights[4] = 1.0
    weights[:, 0, 1, 1, 1] = torch.eye(9)[2]  # the cell above to the right
    fine = upsample_masks(masks, weights)
    assert fine.tolist() == [[[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 4, 2, 5, 5], [3, 3, 4, 4, 5, 5]]]


def test_an_image_without_instances_has_a_gradient_of_zero() -> None:
    masks = torch.zeros(0, 5, 6, requires_grad=True)
    weights = _new().requires_grad_()
    upsample_masks(masks, weights).sum().backward()
    assert weights.grad is not None
    assert not weights.grad.any()
