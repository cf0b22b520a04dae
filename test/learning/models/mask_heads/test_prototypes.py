from __future__ import annotations

import pytest
import torch

from instance_seg_ros.learning.models.mask_heads.interface import MaskPlaces
from instance_seg_ros.learning.models.mask_heads.prototypes import PrototypeHead, cropped

STRIDE = 4


def places(*boxes_xyxy: tuple[float, float, float, float]) -> MaskPlaces:
    count = len(boxes_xyxy)
    return MaskPlaces(torch.zeros(count, 2), torch.ones(count), torch.tensor(boxes_xyxy), STRIDE)


def cut_out_as_yolact_does(mask: torch.Tensor, box_px: tuple[float, float, float, float]) -> torch.Tensor:
    """The cells between the box's corners in cells, one cell more on each side, one cell after the other."""
    x1, y1, x2, y2 = (value / STRIDE for value in box_px)
    result = torch.zeros_like(mask)
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if x1 - 1 <= column < x2 + 1 and y1 - 1 <= row < y2 + 1:
                result[row, column] = mask[row, column]
    return result


@pytest.mark.parametrize(
    ("box_px", "rows", "columns"),
    [
        ((8.0, 8.0, 16.0, 12.0), (1, 4), (1, 5)),  # cells 2 to 4 and 2 to 3, and one more around
        ((9.0, 9.0, 17.0, 13.0), (2, 5), (2, 6)),
        ((-50.0, -50.0, 500.0, 500.0), (0, 6), (0, 8)),
        ((0.0, 0.0, 1.0, 1.0), (0, 2), (0, 2)),
        ((100.0, 100.0, 120.0, 120.0), (0, 0), (0, 0)),
    ],
)
def test_a_mask_is_0_beyond_one_cell_around_its_box(
    box_px: tuple[float, float, float, float], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    expected = torch.zeros(6, 8)
    expected[slice(*rows), slice(*columns)] = 0.7
    result = cropped(torch.full((1, 6, 8), 0.7), places(box_px))
    assert torch.equal(result[0], expected)
    assert torch.equal(result[0], cut_out_as_yolact_does(torch.full((6, 8), 0.7), box_px))


def test_a_mask_is_the_sigmoid_of_prototypes_times_coefficients_inside_the_box() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(32, 6, 8, generator=generator)
    parameters = torch.randn(3, 32, generator=generator)
    boxes = ((3.0, 5.0, 17.0, 21.0), (0.0, 0.0, 32.0, 24.0), (20.0, 1.0, 29.0, 9.0))
    result = PrototypeHead().masks(features, parameters, places(*boxes))
    prototypes, coefficients = features.clamp(min=0).permute(1, 2, 0), parameters.tanh()
    for k, box in enumerate(boxes):  # equation 1 of the paper, M = sigmoid(P C^T), pixel by pixel
        mask = torch.tensor(
            [
                [1 / (1 + (-(prototypes[row, column] @ coefficients[k])).exp()) for column in range(8)]
                for row in range(6)
            ]
        )
        torch.testing.assert_close(result[k], cut_out_as_yolact_does(mask, box))


def test_what_lies_outside_of_the_box_has_no_gradient() -> None:
    features = torch.ones(32, 6, 8, requires_grad=True)
    PrototypeHead().masks(features, torch.full((1, 32), 0.01), places((8.0, 8.0, 12.0, 12.0))).sum().backward()
    assert features.grad is not None
    touched = features.grad.abs().sum(dim=0) > 0
    assert touched.nonzero().tolist() == [[row, column] for row in (1, 2, 3) for column in (1, 2, 3)]
