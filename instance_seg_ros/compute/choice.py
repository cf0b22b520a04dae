"""Which library computes the geometry here, and why not the other."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TypeVar

from instance_seg_ros.compute.arrays import Compute
from instance_seg_ros.compute.numpy_compute import NumpyCompute
from instance_seg_ros.compute.self_check import first_difference
from instance_seg_ros.core.config import GeometrySettings, SegmentationSettings
from instance_seg_ros.core.errors import InputError

Result = TypeVar("Result")


class ComputeChoice:
    """Computes with what is best here, and with NumPy on the CPU from the first time that this fails.

    The stages of a pipeline share one, so that a GPU that fails in one is not asked by the next.

    Args:
        better: than NumPy; None where there is none.
        reason: why there is none, or why NumPy was asked for.
    """

    def __init__(self, better: Compute | None = None, reason: str = "") -> None:
        self._better = better
        self._reason = reason
        self._numpy = NumpyCompute()

    @property
    def name(self) -> str:
        """What computes at this moment, and why nothing better does; one line for a person."""
        if self._better is not None:
            return self._better.name
        return f"{self._numpy.name} ({self._reason})" if self._reason else self._numpy.name

    def run(self, work: Callable[[Compute], Result]) -> Result:
        """What `work` gives with the best that there is."""
        if self._better is not None:
            try:
                return work(self._better)
            except RuntimeError as error:  # PyTorch's errors are these; a GPU that fails must not stop the robot
                self._reason = f"{self._better.name} failed on a frame: {error}"
                self._better = None
        return work(self._numpy)


def choose_compute(settings: GeometrySettings, segmentation: SegmentationSettings) -> ComputeChoice:
    """What these settings ask for, on this machine.

    Raises:
        InputError: a GPU was asked for and cannot be used.
    """
    # Imported here: with the CPU alone nothing of the GPU's is needed.
    from instance_seg_ros.segmentation.runtimes.cpu_choice import CPU_BACKENDS

    if settings.device == "cpu":
        return ComputeChoice()
    if settings.device == "auto" and segmentation.backend in CPU_BACKENDS:
        return ComputeChoice(reason="as the network")
    obstacle = _gpu_obstacle()
    if obstacle is None:
        from instance_seg_ros.compute.torch_compute import TorchCompute

        try:
            compute = TorchCompute("cuda")
            difference = first_difference(compute)
        except RuntimeError as error:  # such as when the GPU's memory is full
            obstacle = f"PyTorch cannot use the GPU: {error}"
        else:
            if difference is None:
                return ComputeChoice(compute)
            obstacle = f"{compute.name} computes {difference} otherwise than NumPy"
    if settings.device == "cuda":
        raise InputError(f"geometry.device cuda cannot be used here ({obstacle}); repair that or choose auto")
    return ComputeChoice(reason=obstacle)


def _gpu_obstacle() -> str | None:
    """Why PyTorch cannot compute on a GPU here; None when it can, as far as can be told beforehand."""
    from instance_seg_ros.segmentation.runtimes import nvidia_driver

    obstacle = nvidia_driver.obstacle()
    if obstacle is not None:
        return obstacle
    if importlib.util.find_spec("torch") is None:
        return "not installed: torch"
    try:
        return nvidia_driver.pytorch_obstacle()
    except (ImportError, OSError) as error:  # such as a shared library that is missing
        return f"torch cannot be imported: {error}"
