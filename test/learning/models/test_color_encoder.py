from __future__ import annotations

import pytest
import torch

from instance_seg_ros.learning.models.color_encoder import ColorEncoder, color_gates, normalised_color

IMAGE = torch.randint(10, 240, (1, 3, 32, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_exposure_and_white_balance_do_not_matter() -> None:
    gains = torch.tensor([0.4, 0.9, 0.6]).view(1, 3, 1, 1)
    balanced, _ = normalised_color(IMAGE.float() * gains)
    torch.testing.assert_close(balanced, normalised_color(IMAGE)[0], atol=1e-3, rtol=1e-3)


def test_a_uniform_image_is_grey_and_present() -> None:
    values, present = normalised_color(torch.full((1, 3, 4, 4), 90, dtype=torch.uint8))
    assert values.abs().max() < 1e-4
    assert present.tolist() == [[[[1.0]]]]


def test_features_lie_at_strides_2_4_and_8_and_are_zero_for_a_black_image() -> None:
    encoder = ColorEncoder((4, 6, 8)).eval()
    both = torch.cat((IMAGE, torch.zeros_like(IMAGE)))
    features = encoder(both)
    assert [tuple(f.shape) for f in features] == [(2, 4, 16, 24), (2, 6, 8, 12), (2, 8, 4, 6)]
    assert all(f[0].abs().max() > 0 for f in features)
    assert all(f[1].abs().max() == 0 for f in features)


def test_three_strides_need_three_widths() -> None:
    with pytest.raises(ValueError, match=r"strides \(2, 4, 8\)"):
        ColorEncoder((4, 8))


def test_gates_are_shut_where_depth_is_whole_and_open_where_it_is_missing() -> None:
    valid = torch.ones(1, 1, 48, 96)
    valid[..., 48:] = 0
    for_upsampling, for_masks, for_backbone = color_gates(valid)
    assert for_upsampling.shape == (1, 1, 24, 48)
    assert (for_upsampling[..., :18] == 0).all()
    assert (for_upsampling[..., 24:] == 1).all()
    assert for_masks.shape == (1, 1, 12, 24)
    assert for_backbone.shape == (1, 1, 6, 12)
    torch.testing.assert_close(for_backbone[0, 0, 2], torch.tensor([0.0] * 5 + [1 / 3, 2 / 3] + [1.0] * 5))
    assert (for_masks[..., :9] == 0).all()
    assert (for_masks[..., 12:] == 1).all()


def test_a_quarter_of_missing_depth_opens_the_gate_of_the_masks() -> None:
    valid = torch.ones(1, 1, 48, 96)
    valid[..., ::4] = 0  # every fourth column
    for_upsampling, for_masks, for_backbone = color_gates(valid)
    assert (for_upsampling == 1).all()
    assert (for_masks == 1).all()
    assert (for_backbone == 0.25).all()
