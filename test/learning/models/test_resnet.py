"""The residual backbone: sizes, where it strides, frozen statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from instance_seg_ros.learning.models.resnet import Bottleneck, FrozenBatchNorm, ResNet


@pytest.mark.parametrize(("depth", "blocks"), [(50, [3, 4, 6, 3]), (101, [3, 4, 23, 3])])
def test_stages_have_the_published_blocks_channels_and_strides(depth: int, blocks: list[int]) -> None:
    with torch.device("meta"):
        network = ResNet(depth, stride_in_1x1=True).eval()
        outputs = network(torch.empty(1, 3, 64, 96))
    assert [len(stage) for stage in network.stages] == blocks
    assert [tuple(x.shape[1:]) for x in outputs] == [(256, 16, 24), (512, 8, 12), (1024, 4, 6), (2048, 2, 3)]


@pytest.mark.parametrize(("stride_in_1x1", "strides"), [(True, [2, 1, 1]), (False, [1, 2, 1])])
def test_the_style_says_which_convolution_strides(stride_in_1x1: bool, strides: list[int]) -> None:
    block = Bottleneck(64, 32, 2, stride_in_1x1)
    assert [layer.conv.stride[0] for layer in (block.conv1, block.conv2, block.conv3)] == strides


def test_another_depth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"depth must be one of \[50, 101\], not 34"):
        ResNet(34, stride_in_1x1=True)


def test_frozen_batch_norm_equals_batch_norm_in_evaluation() -> None:
    torch.manual_seed(0)
    reference = nn.BatchNorm2d(5).eval()
    with torch.no_grad():
        for tensor in (reference.weight, reference.bias, reference.running_mean, reference.running_var):
            tensor.uniform_(0.5, 2.0)
    frozen = FrozenBatchNorm(5).train()
    frozen.load_state_dict({k: v for k, v in reference.state_dict().items() if k != "num_batches_tracked"})
    x = torch.randn(2, 5, 4, 3)
    assert torch.equal(frozen(x), reference(x))
    assert list(frozen.parameters()) == []
