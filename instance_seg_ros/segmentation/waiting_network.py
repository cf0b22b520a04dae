"""A network that only one backend serves, however long that backend takes to get ready."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.accelerator import Accelerator
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network, instances_of
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, Selection


class WaitingNetwork:
    """Makes a network for the first frame of each size and lets that frame wait. For one caller at a time.

    For measurements and comparisons, where another backend in the meantime would falsify the result. What it makes is
    compared with the CPU on that first frame, and does not serve where they differ.

    Args:
        trusted: on the CPU; runs the first frame of each size only.
        accelerator: makes the network.
    """

    def __init__(self, trusted: Network, accelerator: Accelerator) -> None:
        self._trusted = trusted
        self._accelerator = accelerator
        self._made: dict[object, Network | str] = {}
        self._backend = f"{accelerator.name}: starts with the first frame"

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return self._trusted.input_names

    @property
    def backend(self) -> str:
        """What runs it, or how far it is."""
        return self._backend

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the network on one frame.

        Raises:
            ModelError: the network cannot be made for this size; after a failure it is not tried again.
        """
        return self._ready(inputs)(inputs)

    def instances(self, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]) -> Instances:
        """Of one frame; raises what a call raises."""
        return instances_of(self._ready(inputs), inputs, selection, class_names)

    def _ready(self, inputs: Mapping[str, NDArray]) -> Network:
        """The network for frames of this size.

        Raises:
            ModelError: it cannot be made.
        """
        shapes = {name: array.shape for name, array in inputs.items()}
        identity = tuple(sorted(shapes.items()))
        if identity not in self._made:
            self._made[identity] = self._attempt(inputs)
        made = self._made[identity]
        if isinstance(made, str):
            self._backend = made
            raise ModelError(made)
        self._backend = made.backend
        return made

    def _attempt(self, inputs: Mapping[str, NDArray]) -> Network | str:
        """The network, or why there is none."""
        try:
            return self._accelerator.network(inputs, self._trusted(inputs), self._report)
        except Exception as error:  # whatever it is, it is reported for each frame that cannot be served
            return f"{self._accelerator.name}: failed: {error}"

    def _report(self, line: str) -> None:
        self._backend = f"{self._accelerator.name}: {line}"
