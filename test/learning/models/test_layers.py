from __future__ import annotations

import pytest
import torch
from torch import Tensor

from instance_seg_ros.learning.models.layers import aligned_upsample, image_by_image


def interpolated(x: Tensor, dim: int, factor: int) -> Tensor:
    """Each sample o along `dim` at input position (o - factor // 2) / factor, between its two neighbours."""
    length = x.shape[dim]
    samples = []
    for sample in range(factor * length):
        position = min(max((sample - factor // 2) / factor, 0.0), length - 1.0)
        before = int(position)
        after = min(before + 1, length - 1)
        share = position - before
        samples.append((1 - share) * x.select(dim, before) + share * x.select(dim, after))
    return torch.stack(samples, dim=dim)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_aligned_upsampling_and_its_gradient_are_those_of_its_definition(
    factor: int, memory_format: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(factor)
    x = torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=memory_format).requires_grad_()
    upsampled, expected = aligned_upsample(x, factor), interpolated(interpolated(x, 2, factor), 3, factor)
    torch.testing.assert_close(upsampled, expected)
    slopes = torch.randn(expected.shape, generator=generator).to(memory_format=memory_format)
    gradients = [torch.autograd.grad(values, x, slopes)[0] for values in (upsampled, expected)]
    torch.testing.assert_close(*gradients)


def test_the_gradient_of_aligned_upsampling_has_the_type_of_what_was_upsampled() -> None:
    x = torch.ones(1, 1, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        upsampled = aligned_upsample(x, 2)
    upsampled.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.tolist() == [[[[6.25, 3.75], [3.75, 2.25]]]]  # samples 0 to 3 read positions 0, 0, 0.5 and 1


@pytest.mark.parametrize("length", [128, 160])  # fine positions up to 255, and beyond those that bfloat16 holds
def test_the_gradient_of_aligned_upsampling_is_as_good_in_bfloat16_on_long_sides(length: int) -> None:
    x = torch.zeros(1, 1, 1, length, dtype=torch.bfloat16, requires_grad=True)
    aligned_upsample(x, 2).sum().backward()
    assert x.grad is not None
    # Two rows that read the same; samples 0 and 1 read position 0, and none lies beyond the last position.
    assert x.grad.flatten().tolist() == [5.0, *[4.0] * (length - 2), 3.0]


def test_images_one_by_one_are_the_batch() -> None:
    calls: list[int] = []

    def both(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(first))
        return first + second, first.amax(dim=1, keepdim=True)

    first, second = torch.arange(12.0).view(3, 2, 2), torch.tensor([[[1.0]], [[2.0]], [[3.0]]])
    total, largest = image_by_image(both, first, second)
    assert calls == [1, 1, 1]
    assert torch.equal(total, first + second)
    assert torch.equal(largest, first.amax(dim=1, keepdim=True))
