from __future__ import annotations

import pytest
import torch

from instance_seg_ros.learning.models.mask_upsampling import upsample_masks, upsample_masks_of_batch


@pytest.mark.parametrize(("count", "height", "width"), [(0, 3, 4), (1, 1, 1), (3, 2, 17), (12, 60, 80)])
def test_compiled_masks_and_gradients_are_those_of_tensor_operations(count: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(count)
    masks = torch.rand(count, height, width, generator=generator)
    weights = torch.rand(9, 2, 2, height, width, generator=generator)
    slopes = torch.randn(count, 2 * height, 2 * width, generator=generator)
    results = []
    for dtype in (torch.float32, torch.float64):  # compiled, and not
        own = [values.to(dtype, copy=True).requires_grad_() for values in (masks, weights)]
        if dtype == torch.float32:
            fine = upsample_masks(*own)
        else:
            fine = upsample_masks_of_batch(own[0], own[1][None], torch.zeros(count, dtype=torch.int64))
        results.append([fine, *torch.autograd.grad(fine, own, slopes.to(dtype))])
    for compiled, expected in zip(*results, strict=True):
        torch.testing.assert_close(compiled.double(), expected, rtol=1e-5, atol=1e-5)
