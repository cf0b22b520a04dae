from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from instance_seg_ros.learning.models import losses
from instance_seg_ros.learning.models.losses import (
    boundary_weights,
    dice_loss,
    focal_loss,
    giou_loss,
    mask_cross_entropy,
    neighbour_loss,
)


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@pytest.mark.parametrize(
    ("probability", "target", "expected"),
    [
        (0.5, 1.0, 0.25 * 0.5**2 * -math.log(0.5)),
        (0.9, 1.0, 0.25 * 0.1**2 * -math.log(0.9)),
        (0.9, 0.0, 0.75 * 0.9**2 * -math.log(0.1)),
        (0.1, 0.0, 0.75 * 0.1**2 * -math.log(0.9)),
    ],
)
def test_focal_loss_by_hand(probability: float, target: float, expected: float) -> None:
    value = focal_loss(torch.tensor([logit(probability)]), torch.tensor([target]), torch.ones(1))
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_sums_and_weight_0_ignores() -> None:
    logits, targets = torch.tensor([0.3, -2.0, 5.0]), torch.tensor([1.0, 0.0, 0.0])
    first_two = focal_loss(logits[:2], targets[:2], torch.ones(2))
    assert focal_loss(logits, targets, torch.tensor([1.0, 1.0, 0.0])).item() == pytest.approx(first_two.item())


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], 0.0),
        # 2x2 inside 4x4 around one point: IoU 1/4, the hull is the larger box.
        ([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], 0.75),
        # 1x2 left and 1x2 right of the point: no intersection, union 4 = hull.
        ([1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0], 1.0),
        # 1x1 top left and 1x1 bottom right: union 2, hull 4.
        ([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], 1.5),
    ],
)
def test_giou_loss_by_hand(predicted: list[float], target: list[float], expected: float) -> None:
    value = giou_loss(torch.tensor([predicted]), torch.tensor([target]), torch.ones(1))
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_giou_loss_is_the_weighted_mean() -> None:
    predicted = torch.tensor([[1.0, 1, 1, 1], [1.0, 1, 1, 1]])
    target = torch.tensor([[1.0, 1, 1, 1], [2.0, 2, 2, 2]])
    assert giou_loss(predicted, target, torch.tensor([3.0, 1.0])).item() == pytest.approx(0.75 / 4)


def test_giou_loss_of_nothing_is_zero_with_a_gradient() -> None:
    predicted = torch.zeros(0, 4, requires_grad=True)
    loss = giou_loss(predicted, torch.zeros(0, 4), torch.zeros(0))
    loss.backward()
    assert loss.item() == 0


def test_dice_loss_by_hand() -> None:
    # p = (0.5, 0.5, 0, 0), t = (1, 0, 0, 0): 1 - 2 * 0.5 / (0.25 + 0.25 + 1)
    probabilities = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]])
    targets = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert dice_loss(probabilities, targets).item() == pytest.approx(1 - 1 / 1.5, rel=1e-4)


def test_dice_loss_is_0_for_a_perfect_mask_and_1_for_a_disjoint_one() -> None:
    target = torch.tensor([[[1.0, 0.0]]])
    assert dice_loss(target, target).item() == pytest.approx(0, abs=1e-4)
    assert dice_loss(1 - target, target).item() == pytest.approx(1, abs=1e-4)


def test_cells_near_a_boundary_weigh_more() -> None:
    targets = torch.zeros(1, 3, 9)
    targets[:, :, 6:] = 1  # the boundary runs between columns 5 and 6
    weights = boundary_weights(targets, weight=5.0, radius=2)
    assert weights[0, 1].tolist() == [1, 1, 1, 1, 5, 5, 5, 5, 1]
    assert (boundary_weights(torch.zeros(1, 3, 9), 5.0) == 1).all()


def test_weights_scale_the_cross_entropy_of_their_cells() -> None:
    probabilities, targets = torch.full((1, 1, 2), 0.5), torch.zeros(1, 1, 2)
    weights = torch.tensor([[[1.0, 5.0]]])
    assert mask_cross_entropy(probabilities, targets, weights).item() == pytest.approx(3 * math.log(2))


def test_mask_cross_entropy_by_hand() -> None:
    probabilities = torch.tensor([[[0.8, 0.4]]])
    targets = torch.tensor([[[1.0, 0.0]]])
    expected = -(math.log(0.8) + math.log(0.6)) / 2
    assert mask_cross_entropy(probabilities, targets).item() == pytest.approx(expected, rel=1e-5)


def test_a_certain_and_wrong_mask_has_a_finite_cross_entropy() -> None:
    wrong = mask_cross_entropy(torch.tensor([[[1.0]]]), torch.tensor([[[0.0]]]))
    assert wrong.item() == pytest.approx(-math.log(1e-5), rel=1e-2)


def test_gradients_match_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    targets = (torch.rand(2, 3, 4, generator=generator) > 0.5).double()
    weights = torch.rand(2, 3, 4, generator=generator).double()
    ltrb = (torch.rand(5, 4, generator=generator).double() + 0.5).requires_grad_()
    target_ltrb = torch.rand(5, 4, generator=generator).double() + 0.7
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, targets, weights), (logits,))
    assert torch.autograd.gradcheck(lambda x: dice_loss(x.sigmoid(), targets), (logits,))
    assert torch.autograd.gradcheck(lambda x: mask_cross_entropy(x.sigmoid(), targets), (logits,))
    assert torch.autograd.gradcheck(lambda x: giou_loss(x, target_ltrb, torch.ones(5).double()), (ltrb,))


def test_each_neighbour_costs_by_the_share_of_it_that_is_covered_whatever_its_size() -> None:
    ids = torch.tensor([[[1, 1, 2, 3, 3, 0, 255]]])
    is_object = (torch.arange(256) > 0) & (torch.arange(256) < 255)
    probabilities = torch.tensor([[[1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 1.0]], [[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0]]])
    image, own = torch.tensor([0, 0]), torch.tensor([1, 2])
    half = -math.log(1 - 0.99 / 2)
    loss = neighbour_loss(probabilities, ids, image, own, is_object, least_cells=1)
    assert loss.tolist() == pytest.approx([2 * half, half])  # of 2 and 3; of 3, and nothing of 1
    assert neighbour_loss(probabilities, ids, image, own, is_object, least_cells=2).tolist() == pytest.approx(
        [half, half]
    )


def test_a_neighbour_that_is_covered_whole_has_a_slope() -> None:
    probabilities = torch.ones(1, 1, 4, requires_grad=True)
    is_object = torch.tensor([False, True, True])
    neighbour_loss(
        probabilities, torch.tensor([[[1, 1, 2, 2]]]), torch.tensor([0]), torch.tensor([1]), is_object, least_cells=1
    ).sum().backward()
    assert probabilities.grad is not None
    assert probabilities.grad.flatten().tolist() == pytest.approx([0, 0, 49.5, 49.5], rel=1e-3)


class LargestIndex(TorchDispatchMode):
    """Notes the most bytes of int64 that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.int64:
            self.bytes = max(self.bytes, result.nbytes)
        return result


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 50])
def test_masks_block_by_block_cost_the_same_with_the_same_slope_in_bounded_memory(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 5, (2, 6, 8), generator=generator)
    image, own = torch.tensor([0, 1, 1, 0, 0, 1, 1]), torch.tensor([1, 2, 3, 4, 2, 1, 4])
    probabilities = torch.rand(7, 6, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    is_object = torch.arange(5) > 0

    monkeypatch.setattr(losses, "_INDEX_BYTES", rows * 48 * 8)
    with LargestIndex() as largest:
        loss = neighbour_loss(probabilities, ids, image, own, is_object, least_cells=1)
        loss.sum().backward()
    others = [[probabilities[k][ids[i] == o].mean() for o in range(1, 5) if o != own[k]] for k, i in enumerate(image)]
    expected = torch.stack([-torch.log(1 - 0.99 * torch.stack(shares)).sum() for shares in others])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(probabilities.grad, torch.autograd.grad(expected.sum(), probabilities)[0])
    assert (
        largest.bytes <= max(2, min(rows, 7)) * 48 * 8
    )  # the ids of the two images themselves are as much as two rows


def test_the_gradient_of_the_masks_cross_entropy_is_that_of_torchs_and_none_at_the_limits() -> None:
    generator = torch.Generator().manual_seed(4)
    probabilities = torch.rand(3, 4, 5, generator=generator)
    probabilities[0, 0, :5] = torch.tensor([0.0, 1.0, 1e-6, -math.inf, math.inf])
    targets, weights = torch.rand(2, 3, 4, 5, generator=generator)
    outside = ~((probabilities > 1e-5) & (probabilities < 1 - 1e-5))
    plain = probabilities.nan_to_num(nan=0.5).clamp(1e-5, 1 - 1e-5).requires_grad_()
    expected = F.binary_cross_entropy(plain, targets, weights, reduction="none").mean(dim=(1, 2))
    loss = mask_cross_entropy(probabilities.requires_grad_(), targets, weights)
    torch.testing.assert_close(loss, expected)
    slopes = torch.tensor([1.0, -2.0, 3.0])
    (gradient,) = torch.autograd.grad(loss, probabilities, slopes)
    (of_plain,) = torch.autograd.grad(expected, plain, slopes)
    torch.testing.assert_close(gradient, of_plain.masked_fill(outside, 0.0))
    assert outside.sum() == 5
