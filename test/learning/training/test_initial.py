from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from instance_seg_ros.learning.models.checkpoint import Checkpoint, save_checkpoint
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import MASK_HEADS, CondInstConfig
from instance_seg_ros.learning.training.initial import (
    InitialWeights,
    adapted_config,
    fill_network,
    read_initial_weights,
    without_mask_head,
)

CLASS_WEIGHT = "head.class_logits.weight"


def initial(config: CondInstConfig, class_names: tuple[str, ...] = ("object",)) -> InitialWeights:
    torch.manual_seed(1)
    return InitialWeights(config, class_names, CondInst(config).state_dict(), {})


def filled(config: CondInstConfig, class_names: tuple[str, ...], weights: InitialWeights) -> tuple[CondInst, list[str]]:
    torch.manual_seed(2)
    model = CondInst(config)
    return model, fill_network(model, class_names, weights)


def test_equal_networks_take_every_weight_and_differ_in_nothing(small_config: CondInstConfig) -> None:
    weights = initial(small_config)
    model, notes = filled(small_config, ("object",), weights)
    assert notes == []
    assert all(torch.equal(value, weights.weights[name]) for name, value in model.state_dict().items())


def test_every_class_starts_as_an_object(small_config: CondInstConfig) -> None:
    weights = initial(small_config)
    names = ("box", "cup", "pen")
    model, notes = filled(replace(small_config, num_classes=3), names, weights)
    assert notes == ["each of the 3 classes starts as 'object'"]
    own = model.state_dict()
    assert all(torch.equal(row, weights.weights[CLASS_WEIGHT][0]) for row in own[CLASS_WEIGHT])
    assert torch.equal(own["fpn.lateral.0.weight"], weights.weights["fpn.lateral.0.weight"])


@pytest.mark.parametrize("names", [("box", "jar"), ("a", "b", "c"), ("object",)])
def test_other_classes_start_anew_and_that_is_told(small_config: CondInstConfig, names: tuple[str, ...]) -> None:
    weights = initial(replace(small_config, num_classes=2), ("box", "cup"))
    model, notes = filled(replace(small_config, num_classes=len(names)), names, weights)
    assert notes == ["its 2 classes are others: the classification layer starts from scratch"]
    assert not torch.equal(model.state_dict()[CLASS_WEIGHT][0], weights.weights[CLASS_WEIGHT][0])


def test_the_same_classes_go_on(small_config: CondInstConfig) -> None:
    weights = initial(replace(small_config, num_classes=2), ("box", "cup"))
    model, notes = filled(weights.config, ("box", "cup"), weights)
    assert notes == []
    assert torch.equal(model.state_dict()[CLASS_WEIGHT], weights.weights[CLASS_WEIGHT])


def test_colour_joins_a_network_of_depth_alone_and_leaves_one_that_has_it(small_config: CondInstConfig) -> None:
    blind = replace(small_config, color_channels=())
    _, notes = filled(small_config, ("object",), initial(blind))
    assert notes == [
        "it lacks color_encoder, color_to_backbone, color_to_masks, mask_upsampling, which start from scratch"
    ]
    model, notes = filled(blind, ("object",), initial(small_config))
    assert notes == ["left out what reads colour"]
    assert torch.equal(
        model.state_dict()["mask_upsampling.mix.0.weight"],
        initial(small_config).weights["mask_upsampling.mix.0.weight"],
    )


@pytest.mark.parametrize(
    ("before", "now", "parts"),
    [
        ("condinst", "prototypes", "controller, mask_branch.features"),
        ("prototypes", "condinst", "controller, mask_branch.features"),
        ("condinst", "kernels", "controller, mask_branch.coordinates, mask_branch.features, mask_head"),
        ("kernels", "prototypes", "controller, mask_branch.features"),
    ],
)
def test_another_mask_head_starts_anew_on_the_same_trunk_and_that_is_told(
    before: str, now: str, parts: str, small_config: CondInstConfig
) -> None:
    weights = initial(replace(small_config, mask_head=before))
    model, notes = filled(replace(small_config, mask_head=now), ("object",), weights)
    assert notes == [
        f"the mask head {now} starts from scratch ({parts}); that of the weights, {before}, is left out",
    ]
    own = model.state_dict()
    trunk = [name for name in own if not name.startswith(tuple(parts.split(", ")))]
    assert "mask_branch.refine.0.0.weight" in trunk and "mask_upsampling.mix.0.weight" in trunk
    assert all(torch.equal(own[name], weights.weights[name]) for name in trunk)


@pytest.mark.parametrize("head", MASK_HEADS)
def test_the_same_mask_head_goes_on_or_starts_anew_where_that_is_asked_for(
    head: str, small_config: CondInstConfig
) -> None:
    weights = initial(replace(small_config, mask_head=head))
    model, notes = filled(weights.config, ("object",), weights)
    assert notes == []
    assert torch.equal(model.controller.weight, weights.weights["controller.weight"])
    model, notes = filled(weights.config, ("object",), without_mask_head(weights))
    assert len(notes) == 1 and notes[0].startswith(f"the mask head {head} starts from scratch (controller, ")
    assert not torch.equal(model.controller.weight, weights.weights["controller.weight"])


def test_a_network_of_other_sizes_is_refused(small_config: CondInstConfig) -> None:
    other = replace(small_config, fpn_channels=8)
    with pytest.raises(ValueError, match=r"of other sizes: .*do not fit \(\d+ in all\)"):
        filled(other, ("object",), initial(small_config))


def test_sizes_follow_the_weights_classes_and_inputs(small_config: CondInstConfig) -> None:
    blind = replace(small_config, color_channels=())
    usual = CondInstConfig().color_channels
    gated = replace(small_config, gates_color=True)
    assert adapted_config(small_config, 4, color=True) == replace(gated, num_classes=4)
    assert adapted_config(blind, 1, color=True) == replace(gated, color_channels=usual)
    assert adapted_config(small_config, 1, color=False) == blind
    with_upsampling = replace(gated, gates_upsampling=True)
    assert adapted_config(with_upsampling, 1, color=True) == with_upsampling
    assert adapted_config(with_upsampling, 1, color=False) == blind
    assert adapted_config(small_config, 1, color=True, depth=False) == replace(gated, reads_depth=False)
    assert adapted_config(blind, 1, color=False, mask_head="kernels") == replace(blind, mask_head="kernels")
    fine = adapted_config(small_config, 1, color=True, grid_wh=(480, 368))
    assert fine == replace(gated, input_hw=(368, 480))
    with pytest.raises(ValueError, match="needs color_channels"):
        replace(blind, reads_depth=False)


def test_a_checkpoint_gives_its_averages_and_classes(small_config: CondInstConfig, tmp_path: Path) -> None:
    weights = initial(replace(small_config, num_classes=2)).weights
    zeros = {name: torch.zeros_like(value) for name, value in weights.items()}
    config = replace(small_config, num_classes=2)
    save_checkpoint(Checkpoint(config, zeros, weights, {}, 7, 1.0, {"a": 1}, ("box", "cup")), tmp_path / "c.pt")
    found = read_initial_weights(tmp_path / "c.pt")
    assert (found.config, found.class_names) == (config, ("box", "cup"))
    assert found.origin == {"steps": 7, "recipe": {"a": 1}}
    assert all(torch.equal(value, weights[name]) for name, value in found.weights.items())
