"""Checkpoints: written to a temporary name and renamed, so that a kill at any moment leaves a whole one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from instance_seg_ros.learning.models.condinst import CondInst
from instance_seg_ros.learning.models.configuration import CondInstConfig

CHECKPOINT_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on exactly where it stopped, and export to make a model.

    Attributes:
        config: sizes of the network.
        model: parameters and buffers of the trained network.
        average: their exponential moving average, which is what is exported.
        optimizer: state of the optimiser.
        step: steps done.
        elapsed_s: training time so far, over all runs.
        recipe: the settings of the training as JSON-ready values, for the record.
        class_names: by class index.
    """

    config: CondInstConfig
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]
    step: int
    elapsed_s: float
    recipe: dict[str, Any]
    class_names: tuple[str, ...] = ("object",)


def save_atomically(content: object, path: Path) -> None:
    """torch.save under a temporary name in the same folder, flushed to disk, then renamed."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes `checkpoint` to `path`, replacing what was there at once."""
    save_atomically(
        {
            "format": CHECKPOINT_FORMAT,
            "config": checkpoint.config.to_dict(),
            "model": checkpoint.model,
            "average": checkpoint.average,
            "optimizer": checkpoint.optimizer,
            "step": checkpoint.step,
            "elapsed_s": checkpoint.elapsed_s,
            "recipe": checkpoint.recipe,
            "class_names": checkpoint.class_names,
        },
        path,
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; only tensors and plain values are unpickled.

    Raises:
        FileNotFoundError: no file there.
        ValueError: another format, damaged, or not a checkpoint.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # what torch raises for foreign and damaged files shares no base but Exception
        raise ValueError(f"{path} is not a checkpoint, or damaged") from error
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of format {CHECKPOINT_FORMAT}, which `instance-seg train` writes; one of "
            "AdelaiDet's CondInst becomes a model by `instance-seg import-weights`"
        )
    content.pop("format")
    try:
        content["config"] = CondInstConfig.from_dict(content["config"])
        return Checkpoint(**content)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is a checkpoint of another version of this package: {error}") from error


def averaged_model(checkpoint: Checkpoint) -> CondInst:
    """The network with the averaged weights, in evaluation mode."""
    model = CondInst(checkpoint.config)
    model.load_state_dict(checkpoint.average)
    return model.eval()
