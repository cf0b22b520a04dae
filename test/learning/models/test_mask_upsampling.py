from __future__ import annotations

import torch

from instance_seg_ros.learning.models.layers import aligned_upsample
from instance_seg_ros.learning.models.mask_upsampling import (
    MaskUpsampling,
    upsample_masks,
    upsample_masks_of_batch,
)


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


def test_the_gradient_of_a_batch_matches_finite_differences() -> None:
    generator = torch.Generator().manual_seed(2)
    masks = torch.rand(4, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 9, 2, 2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    image = torch.tensor([0, 2, 2, 0])
    assert torch.autograd.gradcheck(lambda m, w: upsample_masks_of_batch(m, w, image), (masks, weights))


def test_more_masks_than_a_cache_holds_are_upsampled_as_few_are() -> None:
    generator = torch.Generator().manual_seed(3)
    masks = torch.rand(7, 60, 80, generator=generator, requires_grad=True)
    weights = torch.rand(2, 9, 2, 2, 60, 80, generator=generator)
    image = torch.tensor([0, 0, 1, 1, 1, 1, 1])
    together = upsample_masks_of_batch(masks, weights, image)
    for row in range(7):
        torch.testing.assert_close(together[row], upsample_masks(masks[row : row + 1], weights[image[row]])[0])
