from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from instance_seg_ros.learning.models.condinst import CondInst, DenseOutput
from instance_seg_ros.learning.models.configuration import SIZES, CondInstConfig, dynamic_parameter_count
from instance_seg_ros.learning.models.dynamic_head import dynamic_masks, split_parameters
from instance_seg_ros.learning.models.fcos_head import BatchNormPerLevel, level_locations
from instance_seg_ros.learning.models.layers import aligned_upsample

INTRINSICS = torch.tensor([[110.0, 110.0, 63.5, 47.5]])


def test_there_are_169_dynamic_parameters_in_the_published_order() -> None:
    assert dynamic_parameter_count() == 169
    weights, biases = split_parameters(torch.arange(169.0)[None])
    assert [tuple(w.shape) for w in weights] == [(1, 8, 10), (1, 8, 8), (1, 1, 8)]
    assert [w.flatten()[0].item() for w in (*weights, *biases)] == [0, 80, 144, 152, 160, 168]
    assert weights[0][0, 1, 0] == 10


def test_dynamic_masks_equal_grouped_convolutions_on_relative_coordinates() -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(8, 6, 5, generator=generator)
    parameters = torch.randn(4, 169, generator=generator) * 0.3
    locations = torch.tensor([[3.0, 9.0], [20.0, 1.0], [0.0, 0.0], [12.0, 12.0]])
    sizes = torch.tensor([8.0, 16.0, 8.0, 32.0])
    weights, biases = split_parameters(parameters)
    grid = level_locations(6, 5, 4)
    for k in range(4):
        relative = ((locations[k] - grid) / sizes[k]).T.reshape(1, 2, 6, 5)
        x = torch.cat((relative, features[None]), dim=1)
        for layer in range(3):
            x = F.conv2d(x, weights[layer][k, :, :, None, None], biases[layer][k].flatten())
            x = torch.relu(x) if layer < 2 else x
        result = dynamic_masks(features, parameters[k : k + 1], locations[k : k + 1], sizes[k : k + 1], 4)
        torch.testing.assert_close(result, x[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_aligned_upsampling_reads_position_o_minus_half_the_factor(factor: int) -> None:
    ramp = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 1, 5, 6)
    up = aligned_upsample(ramp, factor)
    assert up.shape == (1, 1, 5 * factor, 6 * factor)
    expected = ((torch.arange(6.0 * factor) - factor // 2) / factor).clamp(0, 5)
    torch.testing.assert_close(up[0, 0, 0], expected, atol=1e-5, rtol=0)


def test_locations_are_cell_centres_row_by_row() -> None:
    assert level_locations(2, 3, 8).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_each_level_keeps_its_own_statistics() -> None:
    norm = BatchNormPerLevel(2, 2).train()
    norm(torch.full((1, 2, 2, 2), 5.0), 1)
    assert norm.norms[0].running_mean.tolist() == [0, 0]
    assert norm.norms[1].running_mean[0] > 0


def test_outputs_have_the_documented_shapes(small_config: CondInstConfig) -> None:
    model = CondInst(small_config).train()
    generator = torch.Generator().manual_seed(0)
    depth_m = torch.rand(2, 1, 96, 128, generator=generator) + 0.5
    color_rgb = torch.randint(0, 256, (2, 3, 96, 128), generator=generator, dtype=torch.uint8)
    output = model(depth_m, INTRINSICS.expand(2, -1), color_rgb)
    count = 12 * 16 + 6 * 8 + 3 * 4
    assert output.class_logits.shape == (2, count, 1)
    assert output.ltrb_px.shape == (2, count, 4)
    assert (output.ltrb_px >= 0).all()
    assert output.centerness_logits.shape == (2, count)
    assert output.mask_features.shape == (2, 8, 24, 32)
    assert output.foreground_logits.shape == (2, 1, 24, 32)


def test_boxes_are_locations_less_and_plus_distances(small_config: CondInstConfig) -> None:
    model = CondInst(small_config)
    ltrb = torch.zeros(252, 4)
    ltrb[1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert model.boxes_xyxy(ltrb)[1].tolist() == [11, 2, 15, 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head_strides": (8, 16)}, "regression_limits_px has 3 entries"),
        ({"head_strides": (8, 16, 64)}, "not among the backbone's strides"),
        ({"stage_blocks": (1, 1)}, "stage_blocks has 2 entries"),
        ({"input_hw": (360, 480)}, "must be multiples of 16, not 480x360"),
        ({"input_hw": (0, 320)}, "must be multiples of 16, not 320x0"),
    ],
)
def test_inconsistent_sizes_are_refused(small_config: CondInstConfig, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small_config, **change)


def test_a_configuration_survives_json_values(small_config: CondInstConfig) -> None:
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in small_config.to_dict().items()}
    assert CondInstConfig.from_dict(values) == small_config


def test_a_configuration_from_before_there_was_a_gate_has_none() -> None:
    values = SIZES["standard"].to_dict()
    assert values.pop("gates_color") is True
    del values["gates_upsampling"]
    config = CondInstConfig.from_dict(values)
    assert (config.gates_color, config.gates_upsampling) == (False, False)


def _with_colour_heard(model: CondInst) -> CondInst:
    """A new network does not hear its colour encoder yet."""
    for projection in (model.color_to_backbone, model.color_to_masks):
        torch.nn.init.ones_(projection.weight)
    torch.nn.init.normal_(model.mask_upsampling.weights.weight, generator=torch.Generator().manual_seed(1))
    return model


def test_black_colour_is_no_colour(small_config: CondInstConfig) -> None:
    model = _with_colour_heard(CondInst(small_config)).eval()
    depth_m = torch.rand(1, 1, 96, 128, generator=torch.Generator().manual_seed(0)) + 0.5
    without = model(depth_m, INTRINSICS)
    black = model(depth_m, INTRINSICS, torch.zeros(1, 3, 96, 128, dtype=torch.uint8))
    grey = model(depth_m, INTRINSICS, torch.linspace(0, 255, 128).expand(1, 3, 96, 128))
    for name in ("class_logits", "mask_features", "mask_upsampling"):
        torch.testing.assert_close(getattr(black, name), getattr(without, name))
        assert not torch.allclose(getattr(grey, name), getattr(without, name))


def test_colour_is_silent_in_a_gated_network_where_all_depth_is_measured(small_config: CondInstConfig) -> None:
    config = dataclasses.replace(small_config, gates_color=True, gates_upsampling=True)
    model = _with_colour_heard(CondInst(config)).eval()
    depth_m = torch.ones(1, 1, 96, 128)
    color = torch.linspace(0, 255, 128).expand(1, 3, 96, 128)
    whole, heard = model(depth_m, INTRINSICS), model(depth_m, INTRINSICS, color)
    for name in ("class_logits", "mask_features", "mask_upsampling"):
        torch.testing.assert_close(getattr(heard, name), getattr(whole, name))
    depth_m[..., :64] = 0
    without, heard = model(depth_m, INTRINSICS), model(depth_m, INTRINSICS, color)
    difference = (heard.mask_features - without.mask_features).abs().amax(dim=(0, 1))
    assert (difference[:, :14] > 0).float().mean() > 0.9  # a unit may be silent at some place by itself
    for name in ("class_logits", "mask_upsampling"):
        assert not torch.allclose(getattr(heard, name), getattr(without, name))


def test_the_small_network_has_half_the_weights() -> None:
    counts = {name: sum(p.numel() for p in CondInst(config).parameters()) for name, config in SIZES.items()}
    assert counts["small"] < counts["standard"] / 2


def test_a_network_of_depth_alone_has_no_colour_encoder(small_config: CondInstConfig) -> None:
    model = CondInst(dataclasses.replace(small_config, color_channels=()))
    assert not any(name.startswith("color") for name, _ in model.named_parameters())
    assert model(torch.ones(1, 1, 96, 128), INTRINSICS).class_logits.isfinite().all()


@pytest.mark.parametrize("depth_m", [0.0, 1.0])
@pytest.mark.parametrize("gray", [0, 7])
def test_outputs_are_finite_whatever_is_missing(small_config: CondInstConfig, depth_m: float, gray: int) -> None:
    model = _with_colour_heard(CondInst(small_config)).eval()
    color_rgb = torch.full((1, 3, 96, 128), gray, dtype=torch.uint8)
    output = model(torch.full((1, 1, 96, 128), depth_m), INTRINSICS, color_rgb)
    assert all(value.isfinite().all() for value in _tensors(output))


@pytest.mark.parametrize("name", sorted(SIZES))
def test_every_named_size_can_be_trained(name: str) -> None:
    config = SIZES[name]
    model = CondInst(config).train().to(memory_format=torch.channels_last)
    color = torch.randint(0, 255, (1, 3, *config.input_hw), dtype=torch.uint8)
    output = model(torch.full((1, 1, *config.input_hw), 0.8), torch.tensor([[300.0, 300.0, 159.5, 119.5]]), color)
    boxes = torch.tensor([[0.0, 0.0, 320.0, 240.0]]).expand(4, -1)
    masks = model.mask_probabilities(output, torch.arange(4), boxes)
    torch.stack([value.square().mean() for value in (*_tensors(output), masks)]).sum().backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert unused == []


def _tensors(output: DenseOutput) -> list[torch.Tensor]:
    return [tensor for value in vars(output).values() for tensor in (value if isinstance(value, tuple) else (value,))]
