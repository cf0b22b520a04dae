"""Lifting and grasps by NumPy and by PyTorch, on a GPU where there is one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from instance_seg_ros.compute import Compute, ComputeChoice, NumpyCompute
from instance_seg_ros.core.config import PipelineSettings
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.segmentation.runtimes.cpu_choice import times_in_turns_ms

COLUMNS = ("stage", "computed by", "median ms", "p95 ms")


def rows(scenes: Sequence[Scene], rounds: int, settings: PipelineSettings) -> list[tuple[str, str, str, str]]:
    """Rows under `COLUMNS`: both stages on the instances of these scenes, in turns.

    Args:
        scenes: gone through over and over.
        rounds: how often each is timed, at least.
        settings: whatever they say of the geometry, each library gets its rows.
    """
    tasks: dict[tuple[str, ComputeChoice], Callable[[int], object]] = {}
    for compute in _computes():
        choice = ComputeChoice(compute)
        tasks["lift", choice] = partial(_lift, Lifter(settings.lifting, choice), scenes)
        tasks["grasp", choice] = partial(_grasp, GraspSampler(settings.grasping, settings.gripper, choice), scenes)
    # Named when all is done: a GPU that failed meanwhile then says so, and that NumPy took over.
    return [
        (stage, choice.name, f"{np.median(values):.1f}", f"{np.percentile(values, 95):.1f}")
        for (stage, choice), values in times_in_turns_ms(tasks, rounds).items()
    ]


def _computes() -> list[Compute]:
    computes: list[Compute] = [NumpyCompute()]
    if importlib.util.find_spec("torch") is not None:
        import torch

        from instance_seg_ros.compute.torch_compute import TorchCompute

        computes.append(TorchCompute("cuda" if torch.cuda.is_available() else "cpu"))
    return computes


def _lift(lifter: Lifter, scenes: Sequence[Scene], turn: int) -> object:
    scene = scenes[turn % len(scenes)]
    return lifter.lift(scene.frame, scene.instances)


def _grasp(sampler: GraspSampler, scenes: Sequence[Scene], turn: int) -> object:
    scene = scenes[turn % len(scenes)]
    return sampler.sample(scene.frame, scene.lifted)
