from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import MASK_HEADS, CondInstConfig
from instance_seg_ros.learning.models.mask_heads.interface import MaskPlaces, combined, combined_of_batch
from instance_seg_ros.learning.models.mask_upsampling import upsample_masks

INTRINSICS = torch.tensor([[110.0, 110.0, 63.5, 47.5]])
LOCATIONS = 252  # of an image of 128x96


def network(config: CondInstConfig, name: str) -> CondInst:
    torch.manual_seed(4)
    model = CondInst(replace(config, mask_head=name)).eval()
    for weights in (model.controller.weight, model.mask_upsampling.weights.weight):
        torch.nn.init.normal_(weights, std=0.3)
    return model


def test_features_are_mixed_by_the_weights_of_their_own_image() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]], [[[3.0, 4.0]], [[30.0, 40.0]]]])  # 2 images, 2 channels
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    result = combined_of_batch(features, weights, torch.tensor([0, 1, 1]))
    assert result.tolist() == [[[1, 2]], [[30, 40]], [[33, 44]]]
    assert combined(features[1], weights[1:]).tolist() == [[[30, 40]], [[33, 44]]]


@pytest.mark.parametrize("name", MASK_HEADS)
def test_masks_of_a_batch_are_those_of_its_images(name: str, small_config: CondInstConfig) -> None:
    model = network(small_config, name)
    boxes = torch.tensor(
        [[0.0, 0.0, 60.0, 50.0], [20.0, 10.0, 128.0, 96.0], [5.0, 5.0, 90.0, 90.0], [0.0, 0.0, 9.0, 9.0]]
    )
    with torch.no_grad():
        output = model(torch.rand(3, 1, 96, 128) + 0.5, INTRINSICS.expand(3, -1))
        together = model.mask_probabilities(output, torch.tensor([3, 251, 2 * LOCATIONS + 192, 2 * LOCATIONS]), boxes)
        for row, (image, location) in enumerate([(0, 3), (0, 251), (2, 192), (2, 0)]):
            at = torch.tensor([location])
            features = [level[image : image + 1] for level in output.parameter_features]
            parameters = model.parameters_at(features, at)
            coarse = model.masks(output.mask_features[image], parameters, at, boxes[row : row + 1])
            torch.testing.assert_close(together[row], upsample_masks(coarse, output.mask_upsampling[image])[0])
    assert together.std() > 0.01


@pytest.mark.parametrize("name", MASK_HEADS)
def test_parameters_of_chosen_locations_are_those_of_all(name: str, small_config: CondInstConfig) -> None:
    model = network(small_config, name)
    with torch.no_grad():
        output = model(torch.rand(1, 1, 96, 128) + 0.5, INTRINSICS)
        chosen = torch.tensor([251, 0, 15, 16, 100, 191, 192, 239, 240, 16])  # corners and borders of every level
        few = model.parameters_at(output.parameter_features, chosen)
        everywhere = torch.cat([model.controller(x).flatten(2) for x in output.parameter_features], dim=2)[0]
    torch.testing.assert_close(few, everywhere[:, chosen].T, rtol=1e-4, atol=1e-4)
    assert few.std() > 0.01


@pytest.mark.parametrize("name", MASK_HEADS)
def test_a_mask_teaches_every_weight_that_it_is_made_of(name: str, small_config: CondInstConfig) -> None:
    model = CondInst(replace(small_config, mask_head=name)).train()
    color_rgb = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8)
    output = model(torch.rand(2, 1, 96, 128) + 0.5, INTRINSICS.expand(2, -1), color_rgb)
    everything = torch.tensor([[0.0, 0.0, 128.0, 96.0]]).expand(4, -1)
    masks = model.mask_probabilities(output, torch.tensor([0, 5, 200, LOCATIONS + 7]), everything)
    assert masks.shape == (4, 48, 64)
    (masks.sum() + output.class_logits.sum() + output.ltrb_px.sum() + output.centerness_logits.sum()).backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert unused == ["mask_branch.foreground.weight", "mask_branch.foreground.bias"]
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", MASK_HEADS)
def test_a_head_without_instances_makes_no_mask(name: str, small_config: CondInstConfig) -> None:
    head = network(small_config, name).mask_head
    features, nothing = torch.rand(2, head.feature_channels, 6, 8), torch.zeros(0, head.parameter_count)
    places = MaskPlaces(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0, 4), 4)
    assert head.masks(features[0], nothing, places).shape == (0, 6, 8)
    assert head.masks_of_batch(features, nothing, torch.zeros(0, dtype=torch.int64), places).shape == (0, 6, 8)


def test_an_unknown_head_is_refused(small_config: CondInstConfig) -> None:
    with pytest.raises(ValueError, match="mask_head must be one of condinst, prototypes, kernels, not 'masks'"):
        replace(small_config, mask_head="masks")
