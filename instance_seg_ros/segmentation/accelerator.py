"""A backend that needs time to get ready, and what it makes is trusted with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.agreement import disagreement, masks_disagreement
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.network import InstanceNetwork, Network, instances_of, selected_instances
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, NotFiniteError, Selection

Shapes = Mapping[str, tuple[int, ...]]
"""Shape by input name."""
Report = Callable[[str], None]
"""Takes a line about what goes on."""
Maker = Callable[[Shapes, Report], Network]
"""Makes a network for inputs of these shapes; may take an hour, raise anything, and say how far it is."""


_COMPARED = Selection(score_threshold=0.3, mask_threshold=0.5, max_instances=50, min_mask_pixels=1)


class DisagreementError(ModelError):
    """A network finds other objects in a frame than one that is trusted."""


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """A backend that needs time to get ready for one size of the images.

    Attributes:
        name: what it is called until it can speak for itself.
        makers: of its network, by precision: the wanted one first, then those with more range, for networks whose
            numbers the first does not hold.
    """

    name: str
    makers: Mapping[str, Maker]

    def network(self, inputs: Mapping[str, NDArray], expected: NetworkOutput, report: Report) -> Network:
        """The network in the first of its precisions that computes what the model file says.

        Args:
            inputs: of a frame.
            expected: what a network that is trusted says of it.
            report: called with the progress.

        Raises:
            ModelError: in no precision it says of the frame what is expected; a robot would act on that.
            Exception: whatever making or running it raises besides; another precision would not help.
        """
        reasons: list[str] = []
        for precision, make in self.makers.items():
            try:
                network = _trusted(make, inputs, expected, report)
            except (NotFiniteError, DisagreementError) as error:
                reasons.append(f"not {precision}: {error}" if len(self.makers) > 1 else str(error))
                report(reasons[-1])
            else:
                return _PrecisionChanged(network, precision, "; ".join(reasons)) if reasons else network
        raise ModelError("; ".join(reasons))


def _trusted(make: Maker, inputs: Mapping[str, NDArray], expected: NetworkOutput, report: Report) -> Network:
    """The network, once it has said of a frame what is expected.

    Raises:
        NotFiniteError, DisagreementError: it has not; then nothing keeps it, and its memory is free for the next one.
    """
    network = make({name: array.shape for name, array in inputs.items()}, report)
    output = network(inputs)
    difference = disagreement(expected, output) or _settles_differently(network, inputs, output)
    if difference is not None:
        raise DisagreementError(f"{network.backend} does not compute what the model file says: {difference}")
    return network


def _settles_differently(network: Network, inputs: Mapping[str, NDArray], output: NetworkOutput) -> str | None:
    """How the instances that a network makes itself differ from those that the CPU makes of its output, if they do."""
    if not isinstance(network, InstanceNetwork):
        return None
    names = tuple(map(str, range(int(output.class_ids.max(initial=0)) + 1)))
    own = network.instances(inputs, _COMPARED, names)
    return masks_disagreement(selected_instances(output, inputs, _COMPARED, names), own)


class _PrecisionChanged:
    """A network in another precision than was asked for, which says so."""

    def __init__(self, network: Network, precision: str, reason: str) -> None:
        self._network = network
        self._told = f"{precision}, {reason}"

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return self._network.input_names

    @property
    def backend(self) -> str:
        """What runs it, and why in this precision."""
        return f"{self._network.backend} ({self._told})"

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the network on one frame."""
        return self._network(inputs)

    def instances(self, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]) -> Instances:
        """Of one frame."""
        return instances_of(self._network, inputs, selection, class_names)
