"""A network that serves with one backend alone, however long that takes to get ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from numpy.typing import NDArray

from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.swapping_network import Report, Shapes


class WaitingNetwork:
    """Makes a network for the first frame of each size and lets that frame wait. For one caller at a time.

    For measurements and comparisons, where a stand-in would falsify the result.

    Args:
        name: what the backend is called until it can speak for itself.
        make: makes it for inputs of these shapes; may raise anything, and say how far it is.
    """

    def __init__(self, input_names: tuple[str, ...], name: str, make: Callable[[Shapes, Report], Network]) -> None:
        self.input_names = input_names
        self._name = name
        self._make = make
        self._made: dict[object, Network | str] = {}
        self._backend = f"{name}: starts with the first frame"

    @property
    def backend(self) -> str:
        """What runs it, or how far it is."""
        return self._backend

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the network on one frame.

        Raises:
            ModelError: the network cannot be made for this size; once it could not, it is not tried again.
        """
        shapes = {name: array.shape for name, array in inputs.items()}
        identity = tuple(sorted(shapes.items()))
        if identity not in self._made:
            self._made[identity] = self._attempt(shapes)
        made = self._made[identity]
        if isinstance(made, str):
            self._backend = made
            raise ModelError(made)
        self._backend = made.backend
        return made(inputs)

    def _attempt(self, shapes: Shapes) -> Network | str:
        """The network, or why there is none."""
        try:
            return self._make(shapes, self._report)
        except Exception as error:  # whatever it is, it is told for each frame that cannot be served
            return f"{self._name}: failed: {error}"

    def _report(self, line: str) -> None:
        self._backend = f"{self._name}: {line}"
