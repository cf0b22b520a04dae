"""What a family of models is: the outputs that tell it, how it wants its image, how its outputs are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from numpy.typing import NDArray

from instance_seg_ros.segmentation.families.image_input import ImageInput, Placement
from instance_seg_ros.segmentation.families.signature import Signature, Tensor
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

Sizes = Mapping[str, int | None]
"""Of the sides that patterns name by letters; None where the file leaves them open."""


@dataclass(frozen=True)
class OutputPattern:
    """An output that a family has.

    Attributes:
        role: what it is; `decode` gets it by this name.
        sides: a number must be that number, a letter the same number wherever it stands.
        names: that it may have; any if empty.
        is_float: whether its elements are floating-point numbers, or integers.
    """

    role: str
    sides: tuple[int | str, ...]
    names: tuple[str, ...] = ()
    is_float: bool = True

    def __str__(self) -> str:
        named = f"{' or '.join(self.names) or self.role} {'float' if self.is_float else 'integer'}"
        return f"{named} [{', '.join(map(str, self.sides))}]"

    def sizes_with(self, tensor: Tensor, known: Sizes) -> Sizes | None:
        """The sizes if this is the tensor; None if it is not."""
        if (self.names and tensor.name not in self.names) or tensor.is_float != self.is_float:
            return None
        if not tensor.is_described:
            return {**{side: None for side in self.sides if isinstance(side, str)}, **known}
        if len(tensor.shape) != len(self.sides):
            return None
        sizes = dict(known)
        for side, length in zip(self.sides, tensor.shape, strict=True):
            expected = side if isinstance(side, int) else sizes.get(side)
            if None not in (expected, length) and expected != length:
                return None
            if isinstance(side, str):
                sizes[side] = length if expected is None else expected
        return sizes


@dataclass(frozen=True)
class Reading:
    """What decoding depends on beside the outputs.

    Attributes:
        placement: of the camera's image in the network's.
        class_count: how many class names there are.
        nms_iou: boxes of one class that share more than this are one object; not used by families without suppression.
    """

    placement: Placement
    class_count: int
    nms_iou: float


@dataclass(frozen=True)
class Family:
    """A family of models; one constant of this type a family.

    Attributes:
        name: value of `family` in the YAML file beside a model.
        title: for people.
        outputs: all that are needed; beside outputs that need no name there may be no others.
        image: how its projects feed it.
        score_threshold: that its project uses where it shows results.
        mask_threshold: of the values that `decode` gives as masks, 0 for logits.
        decode: from the outputs by role to camera pixels.
        obstacle: why a graph whose outputs fit is of another family; None when it may be this one.
        class_count: how many classes the sizes or the weights tell of; None when they do not.
        class_names: for files that name none.
        may_lack_a_name: whether one name fewer than classes will do, since one of them stands for none.
        nms_iou: as in Reading.
    """

    name: str
    title: str
    outputs: tuple[OutputPattern, ...]
    image: ImageInput
    score_threshold: float
    mask_threshold: float
    decode: Callable[[Mapping[str, NDArray], Reading], NetworkOutput]
    class_names: Callable[[int | None], tuple[str, ...]]
    obstacle: Callable[[Signature, Sizes], str | None] = lambda signature, sizes: None
    class_count: Callable[[Signature, Sizes], int | None] = lambda signature, sizes: None
    may_lack_a_name: bool = False
    nms_iou: float = 0.7

    def fit(self, signature: Signature) -> Fit:
        """Whether a graph is of this family, and why not."""
        found = _assigned(self.outputs, signature.outputs, {})
        anonymous = any(not pattern.names for pattern in self.outputs)
        if found is None or (anonymous and len(signature.outputs) != len(self.outputs)):
            return Fit(obstacle=f"it gives {', '.join(map(str, self.outputs))}")
        roles, sizes = found
        return Fit(roles, sizes, self.obstacle(signature, sizes))


@dataclass(frozen=True)
class Fit:
    """How a graph's outputs fit a family.

    Attributes:
        roles: name of the output by role.
        sizes: by letter of the patterns.
        obstacle: why it does not fit; None when it does.
    """

    roles: Mapping[str, str] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=dict)
    obstacle: str | None = None


def _assigned(
    patterns: Sequence[OutputPattern], tensors: Sequence[Tensor], known: Sizes
) -> tuple[dict[str, str], Sizes] | None:
    """An output for each pattern, or None; tried in the order of the file."""
    if not patterns:
        return {}, known
    for index, tensor in enumerate(tensors):
        sizes = patterns[0].sizes_with(tensor, known)
        if sizes is not None:
            others = _assigned(patterns[1:], [*tensors[:index], *tensors[index + 1 :]], sizes)
            if others is not None:
                return {patterns[0].role: tensor.name, **others[0]}, others[1]
    return None
