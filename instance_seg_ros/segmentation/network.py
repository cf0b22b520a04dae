"""What every backend provides, a network, and the inputs of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, Selection, to_instances


class Network(Protocol):
    """A loaded network: the arrays that its inputs name in, NetworkOutput out."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of its inputs, keys of `network_inputs`."""

    @property
    def backend(self) -> str:
        """What runs it, with its version, where, and what else a user would want to know about that."""

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the network on one frame."""


@runtime_checkable
class InstanceNetwork(Network, Protocol):
    """A network that can resize the masks and settle their overlaps where it runs, instead of on the CPU."""

    def instances(self, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]) -> Instances:
        """As `to_instances` makes them of what it returns for one frame."""


def instances_of(
    network: Network, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]
) -> Instances:
    """The instances of one frame, best score first, masks of the camera's size without overlap.

    Raises:
        ModelError: what the network raises, or a mask is not finite.
    """
    if isinstance(network, InstanceNetwork):
        return network.instances(inputs, selection, class_names)
    return selected_instances(network(inputs), inputs, selection, class_names)


def selected_instances(
    output: NetworkOutput, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]
) -> Instances:
    """The same, where the network has run already."""
    size_wh = size_wh_of({name: array.shape for name, array in inputs.items()})
    return to_instances(output, size_wh, class_names, **vars(selection))


def network_inputs(frame: RgbdFrame, names: tuple[str, ...]) -> dict[str, NDArray]:
    """The arrays of a frame that a network asks for by name.

    Args:
        frame: of the camera.
        names: of "color_rgb" (H, W, 3) uint8, black throughout where the camera has no colour, "depth_m" (H, W)
            float32 and "intrinsics" (4,) float32 fx, fy, cx, cy.
    """
    arrays: dict[str, NDArray] = {"depth_m": frame.depth_m, "intrinsics": frame.intrinsics.fx_fy_cx_cy}
    if "color_rgb" in names:
        color_rgb = frame.color_rgb
        arrays["color_rgb"] = np.zeros((*frame.depth_m.shape, 3), np.uint8) if color_rgb is None else color_rgb
    return {name: arrays[name] for name in names}


def input_shapes(names: tuple[str, ...], size_wh: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The shapes of `network_inputs` for a camera of this size."""
    width, height = size_wh
    shapes: dict[str, tuple[int, ...]] = {
        "color_rgb": (height, width, 3),
        "depth_m": (height, width),
        "intrinsics": (4,),
    }
    return {name: shapes[name] for name in names}


def size_wh_of(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """The camera's size that `input_shapes` was given."""
    height, width = next(shapes[name] for name in ("depth_m", "color_rgb") if name in shapes)[:2]
    return width, height
