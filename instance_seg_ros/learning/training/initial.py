"""Weights that a training starts from: a checkpoint's averages, or those inside a model file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from instance_seg_ros.learning.models.checkpoint import load_checkpoint
from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.models.embedded_weights import read_network
from instance_seg_ros.segmentation.model_file import read_model_info

MODEL_SUFFIX = ".onnx"
_COLOR_PARTS = ("color_", "mask_upsampling.color_")
_CLASS_LAYER = "head.class_logits."
_MASK_HEAD_PARTS = ("controller.", "mask_head.", "mask_branch.features.", "mask_branch.coordinates.")


@dataclass(frozen=True)
class InitialWeights:
    """A trained network.

    Attributes:
        config: its sizes.
        class_names: by class index.
        weights: its state dict.
        origin: where it comes from, for the training's record.
    """

    config: CondInstConfig
    class_names: tuple[str, ...]
    weights: dict[str, Tensor]
    origin: dict[str, Any]


def read_initial_weights(path: Path) -> InitialWeights:
    """The network in a checkpoint or in a model file that `instance-seg export` wrote.

    Raises:
        FileNotFoundError: no file there.
        ValueError: it is no checkpoint.
        InputError: it is a model file that holds no trainable network.
    """
    if path.suffix == MODEL_SUFFIX:
        info = read_model_info(path)
        config, weights = read_network(path)
        return InitialWeights(config, info.class_names, weights, {"model": info.name, "digest": info.digest})
    checkpoint = load_checkpoint(path)
    origin = {"steps": checkpoint.step, "recipe": checkpoint.recipe}
    return InitialWeights(checkpoint.config, checkpoint.class_names, checkpoint.average, origin)


def without_mask_head(initial: InitialWeights) -> InitialWeights:
    """The trunk alone: a network that is filled with it has a new mask head, whatever the old one was."""
    weights = {name: value for name, value in initial.weights.items() if not name.startswith(_MASK_HEAD_PARTS)}
    return replace(initial, weights=weights, origin={**initial.origin, "new_mask_head": True})


def fill_network(model: CondInst, class_names: tuple[str, ...], initial: InitialWeights) -> list[str]:
    """Fills a network with the weights of another.

    That may have other classes or another mask head, and may lack colour, or have it alone. The objectness of a
    class-agnostic network becomes the starting point of every class.

    Args:
        model: changed in place.
        class_names: of that network.
        initial: what to take the weights from.

    Returns:
        What differs, a sentence each.

    Raises:
        ValueError: the networks differ in more than that.
    """
    notes = []
    weights = dict(initial.weights)
    if not model.config.color_channels and initial.config.color_channels:
        weights = {name: value for name, value in weights.items() if not name.startswith(_COLOR_PARTS)}
        notes.append("left out what reads colour")
    if len(initial.class_names) == 1:
        for name in (name for name in weights if name.startswith(_CLASS_LAYER)):
            weights[name] = weights[name].repeat_interleave(len(class_names), dim=0)
        if len(class_names) > 1:
            notes.append(f"each of the {len(class_names)} classes starts as {initial.class_names[0]!r}")
    elif initial.class_names != class_names:
        weights = {name: value for name, value in weights.items() if not name.startswith(_CLASS_LAYER)}
        notes.append(f"its {len(initial.class_names)} classes are others: the classification layer starts from scratch")
    if model.config.mask_head != initial.config.mask_head:
        weights = {name: value for name, value in weights.items() if not name.startswith(_MASK_HEAD_PARTS)}
    own = model.state_dict()
    foreign = [name for name, value in weights.items() if name not in own or own[name].shape != value.shape]
    if foreign:
        raise ValueError(
            f"the weights to start from are of a network of other sizes: {', '.join(foreign[:5])} do not fit "
            f"({len(foreign)} in all)"
        )
    missing = {name for name in own if name not in weights and not name.startswith(_CLASS_LAYER)}
    head = {name for name in own if name.startswith(_MASK_HEAD_PARTS)}
    if head <= missing:
        parts = sorted(part.rstrip(".") for part in _MASK_HEAD_PARTS if any(name.startswith(part) for name in head))
        notes.append(
            f"the mask head {model.config.mask_head} starts from scratch ({', '.join(parts)}); that of the weights, "
            f"{initial.config.mask_head}, is left out"
        )
        missing -= head
    if missing:
        fresh = sorted({name.split(".")[0] for name in missing})
        notes.append(f"it lacks {', '.join(fresh)}, which start from scratch")
    model.load_state_dict({**own, **weights})
    return notes


def adapted_config(
    base: CondInstConfig,
    class_count: int,
    color: bool,
    depth: bool = True,
    mask_head: str | None = None,
    grid_wh: tuple[int, int] | None = None,
) -> CondInstConfig:
    """The same sizes for this many classes, with or without colour and depth; missing depth gates the colour.

    Without a `mask_head` or a grid, they are those of `base`.

    Raises:
        ValueError: the grid's sides are no multiples of 16.
    """
    channels = (base.color_channels or CondInstConfig().color_channels) if color else ()
    return replace(
        base,
        input_hw=base.input_hw if grid_wh is None else grid_wh[::-1],
        num_classes=class_count,
        color_channels=channels,
        reads_depth=depth,
        gates_color=color,
        gates_upsampling=color and base.gates_upsampling,
        mask_head=mask_head or base.mask_head,
    )
