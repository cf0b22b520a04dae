"""How a graph is fed from a frame and its outputs are read: of this project's model files, and of exported ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from instance_seg_ros.segmentation.families.description import ExportedModel, read_exported_model
from instance_seg_ros.segmentation.families.family import Reading
from instance_seg_ros.segmentation.families.image_input import Placement, Sides
from instance_seg_ros.segmentation.families.signature import read_signature
from instance_seg_ros.segmentation.model_file import ModelError, ModelInfo, read_model_info
from instance_seg_ros.segmentation.network import size_wh_of
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

Shapes = Mapping[str, tuple[int, ...]]

_CAMERA_TYPES: dict[str, DTypeLike] = {"color_rgb": np.uint8, "depth_m": np.float32, "intrinsics": np.float32}
_OUTPUTS = ("boxes_xyxy", "scores", "class_ids", "masks", "mask_scale")
_OPTIONAL_OUTPUTS = ("mask_offset", "mask_upsampling")
_DISTINCTIVE = {"boxes_xyxy", "mask_scale"}
_SAMPLE_VALUES = {"color_rgb": 0, "depth_m": 0.8, "intrinsics": 300}


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph.

    Attributes:
        type_name: of its elements as NumPy calls them, such as "float32", or as the runtime does.
        shape: None for sides of any size.
    """

    type_name: str
    shape: tuple[int | None, ...]


class Contract(Protocol):
    """What a graph's inputs and outputs mean."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the graph needs of a frame: keys of `network_inputs`."""

    def outputs_to_ask(self, inputs: Mapping[str, GraphInput], outputs: Collection[str]) -> Sequence[str]:
        """The names of the graph's outputs that are needed.

        Raises:
            ModelError: the graph has other inputs or outputs than expected; both are named.
        """

    def graph_shapes(self, camera_shapes: Shapes) -> Shapes:
        """The shapes of the graph's inputs for a frame whose arrays have these shapes."""

    def feeds(self, arrays: Mapping[str, NDArray], inputs: Mapping[str, GraphInput]) -> dict[str, NDArray]:
        """The graph's inputs, contiguous, from those of a frame.

        Raises:
            ModelError: the graph takes images of another size.
        """

    def read(self, outputs: Mapping[str, NDArray], camera_shapes: Shapes) -> NetworkOutput:
        """What the outputs say, in the camera's pixels.

        Raises:
            ModelError: the outputs are not what the contract says; NotFiniteError where numbers are none.
        """


class OwnContract:
    """Of this project's model files: a frame's arrays in, the fields of NetworkOutput out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.input_names: tuple[str, ...] = ()

    def outputs_to_ask(self, inputs: Mapping[str, GraphInput], outputs: Collection[str]) -> Sequence[str]:
        """As Contract says."""
        types = {name: tensor.type_name for name, tensor in inputs.items()}
        wanted = {name: np.dtype(element).name for name, element in _CAMERA_TYPES.items()}
        if not types or not types.items() <= wanted.items() or not set(outputs) >= set(_OUTPUTS):
            raise ModelError(
                f"{self._path} takes {_listed(types)} and gives {', '.join(sorted(outputs))}; the contract is some of "
                f"{_listed(wanted)} and all of {', '.join(sorted(_OUTPUTS))}"
            )
        self.input_names = tuple(inputs)
        return [*_OUTPUTS, *(name for name in _OPTIONAL_OUTPUTS if name in outputs)]

    def graph_shapes(self, camera_shapes: Shapes) -> Shapes:
        """As Contract says: the same."""
        return camera_shapes

    def feeds(self, arrays: Mapping[str, NDArray], inputs: Mapping[str, GraphInput]) -> dict[str, NDArray]:
        """As Contract says."""
        for name, tensor in inputs.items():
            require_shape(self._path, name, tensor, arrays[name].shape)
        return {name: np.ascontiguousarray(arrays[name]) for name in inputs}

    def read(self, outputs: Mapping[str, NDArray], camera_shapes: Shapes) -> NetworkOutput:
        """As Contract says."""
        return NetworkOutput(**outputs)


class FamilyContract:
    """Of an exported model of another project.

    Args:
        path: of the file, for messages.
        model: what is known of it.
    """

    input_names = ("color_rgb",)

    def __init__(self, path: Path, model: ExportedModel) -> None:
        self._path = path
        self._model = model

    def outputs_to_ask(self, inputs: Mapping[str, GraphInput], outputs: Collection[str]) -> Sequence[str]:
        """As Contract says."""
        others = [name for name in inputs if name not in (self._model.image_tensor.name, "pixel_mask")]
        if others:
            raise ModelError(
                f"{self._path} has inputs that nothing is known of: {', '.join(others)}; export it without"
            )
        missing = [name for name in self._model.fit.roles.values() if name not in outputs]
        if missing:
            raise ModelError(f"{self._path}: the runtime gives {', '.join(outputs)}, but not {', '.join(missing)}")
        return list(self._model.fit.roles.values())

    def graph_shapes(self, camera_shapes: Shapes) -> Shapes:
        """As Contract says."""
        width, height = self._placement(camera_shapes).network_wh
        batch = [1] * (len(self._model.image_tensor.shape) - 3)
        shapes: dict[str, tuple[int, ...]] = {self._model.image_tensor.name: (*batch, 3, height, width)}
        if any(tensor.name == "pixel_mask" for tensor in self._model.signature.inputs):
            shapes["pixel_mask"] = (1, height, width)
        return shapes

    def feeds(self, arrays: Mapping[str, NDArray], inputs: Mapping[str, GraphInput]) -> dict[str, NDArray]:
        """As Contract says."""
        color_rgb = arrays["color_rgb"]
        placement = self._placement({"color_rgb": color_rgb.shape})
        shapes = self.graph_shapes({"color_rgb": color_rgb.shape})
        feeds: dict[str, NDArray] = {}
        for name, tensor in inputs.items():
            if name == "pixel_mask":  # 1 where the image is
                mask = np.zeros(shapes[name], dtype=tensor.type_name)
                (left, top), (width, height) = placement.inner_xy, placement.inner_wh
                mask[:, top : top + height, left : left + width] = 1
                feeds[name] = mask
            else:
                image = self._model.image.fed(color_rgb, placement, np.dtype(tensor.type_name))
                feeds[name] = np.ascontiguousarray(image.reshape(shapes[name]))
            require_shape(self._path, name, tensor, feeds[name].shape)
        return feeds

    def read(self, outputs: Mapping[str, NDArray], camera_shapes: Shapes) -> NetworkOutput:
        """As Contract says."""
        model = self._model
        by_role = {role: outputs[name] for role, name in model.fit.roles.items()}
        ranks = {pattern.role: len(pattern.sides) for pattern in model.family.outputs}
        wrong = [
            f"{model.fit.roles[role]} {array.shape}" for role, array in by_role.items() if array.ndim != ranks[role]
        ]
        if wrong:
            raise ModelError(
                f"{self._path} gives {', '.join(wrong)}, and a {model.family.title} gives "
                f"{', '.join(map(str, model.family.outputs))}"
            )
        names = model.info.class_names
        reading = Reading(self._placement(camera_shapes), len(names), model.nms_iou)
        output = model.family.decode(by_role, reading)
        yaml = self._path.with_suffix(".yaml").name
        require_known_classes(self._path, output, names, f"{model.class_names_from}; class_names in {yaml}")
        return output

    def _placement(self, camera_shapes: Shapes) -> Placement:
        camera_wh: Sides = size_wh_of(camera_shapes)
        *_, height, width = self._model.image_tensor.shape
        image = self._model.image
        return image.placement(camera_wh, image.network_wh(camera_wh, (width, height)))


def require_known_classes(path: Path, output: NetworkOutput, names: Sequence[str], where: str) -> None:
    """Refuses objects of classes without a name.

    Args:
        where: names come from, and can be listed; for people.

    Raises:
        ModelError: with the index.
    """
    unknown = output.class_ids[(output.class_ids < 0) | (output.class_ids >= len(names))]
    if len(unknown):
        raise ModelError(
            f"{path} finds an object of class {unknown[0]}, and {len(names)} class names are known ({where})"
        )


def contract_of(path: Path) -> Contract:
    """The contract of a model file.

    Raises:
        ModelError: the file is no ONNX model, or none of a known family.
    """
    return family_contract_of(path) or OwnContract(path)


def family_contract_of(path: Path) -> FamilyContract | None:
    """The contract of an exported model of another project; None for a file of this one.

    Raises:
        ModelError: the file is of no known family.
    """
    return None if _has_own_outputs(path) else FamilyContract(path, read_exported_model(path))


def _has_own_outputs(path: Path) -> bool:
    """Whether a graph is this project's, with its metadata or without; a file that cannot be read is reported later."""
    try:
        signature = read_signature(path.read_bytes())
    except (OSError, ValueError):
        return True
    return "format" in signature.metadata or {tensor.name for tensor in signature.outputs} >= _DISTINCTIVE


def read_info(path: Path) -> ModelInfo:
    """What is known of a model file, of this project or another.

    Raises:
        ModelError: it cannot be used; the message says why.
    """
    if _has_own_outputs(path):
        return read_model_info(path)
    return read_exported_model(path).info


def sample_arrays(
    names: Sequence[str], inputs: Mapping[str, GraphInput], camera_hw: tuple[int, int]
) -> dict[str, NDArray]:
    """A wall before a camera of this size, or of the size that the graph was exported for: some of `network_inputs`."""
    samples: dict[str, NDArray] = {}
    for name in names:
        free = iter(camera_hw)
        sides = inputs[name].shape if name in inputs else (None, None, 3)
        shape = [next(free) if side is None else side for side in sides]
        samples[name] = np.full(shape, _SAMPLE_VALUES[name], dtype=_CAMERA_TYPES[name])
    return samples


def require_shape(path: Path, name: str, tensor: GraphInput, actual: tuple[int, ...]) -> None:
    """Refuses an array that the graph does not take.

    Raises:
        ModelError: with both shapes.
    """
    if any(side not in (None, given) for side, given in zip(tensor.shape, actual, strict=True)):
        raise ModelError(
            f"{path} was exported for {name} of shape {tensor.shape} and the camera gives {actual}; "
            "export it for this camera's size"
        )


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({element})" for name, element in sorted(types.items()))
