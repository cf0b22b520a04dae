from __future__ import annotations

import torch
import torch.nn.functional as F

from instance_seg_ros.learning.models.mask_heads.interface import MaskPlaces
from instance_seg_ros.learning.models.mask_heads.kernels import KernelHead


def places(count: int) -> MaskPlaces:
    return MaskPlaces(torch.zeros(count, 2), torch.ones(count), torch.zeros(count, 4), 4)


def test_a_mask_is_the_convolution_of_the_features_with_its_kernel() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(64, 6, 5, generator=generator)
    kernels = torch.randn(3, 64, generator=generator)
    result = KernelHead(16, 3).masks(features, kernels, places(3))
    expected = F.conv2d(features.relu()[None], kernels.view(3, 64, 1, 1))[0].sigmoid()
    torch.testing.assert_close(result, expected)


def test_kernels_are_made_of_features_and_coordinates_by_a_convolution() -> None:
    """That appending two channels of coordinates to the input of the convolution is what CoordConv is."""
    torch.manual_seed(0)
    head = KernelHead(16, 2).eval()
    levels = [torch.randn(1, 16, 4, 6), torch.randn(1, 16, 2, 3)]
    for level, (x, result) in enumerate(zip(levels, head.parameter_features(levels), strict=True)):
        height, width = x.shape[2:]
        columns = torch.linspace(-1, 1, width).expand(height, width)
        rows = torch.linspace(-1, 1, height).view(-1, 1).expand(height, width)
        appended = torch.cat((x, torch.stack((columns, rows))[None]), dim=1)
        weight = head.tower.convs[0].weight
        of_coordinates = torch.einsum("oihw,ic->ochw", weight, head.coordinates.weight)
        convolved = F.conv2d(appended, torch.cat((weight, of_coordinates), dim=1), padding=1)
        torch.testing.assert_close(result, head.tower.norms[0](convolved, level).relu(), atol=1e-5, rtol=1e-4)


def test_two_equal_objects_at_different_places_have_different_kernels() -> None:
    torch.manual_seed(0)
    (features,) = KernelHead(16, 1).eval().parameter_features([torch.ones(1, 16, 8, 8)])
    inner = features[0, :, 1:-1, 1:-1].flatten(1)
    assert (inner[:, :1] - inner[:, 1:]).abs().amax(dim=0).min() > 1e-3
