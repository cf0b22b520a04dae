"""A network that serves with one backend until a better one is ready."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from numpy.typing import NDArray

from instance_seg_ros.core.instances import Instances
from instance_seg_ros.segmentation.accelerator import Accelerator
from instance_seg_ros.segmentation.network import Network, instances_of, selected_instances
from instance_seg_ros.segmentation.postprocessing import NetworkOutput, Selection

_Result = TypeVar("_Result")


@dataclasses.dataclass
class _Attempts:
    """The state of the accelerators for one size of the images.

    Attributes:
        begun: how many of them were tried, the best first.
        better: the network that the last of those made, while it works.
        said: the last message of each, by its name.
    """

    begun: int = 0
    better: Network | None = None
    said: dict[str, str] = dataclasses.field(default_factory=dict)


class SwappingNetwork:
    """Serves every frame while a better network is made in the background; swaps between two frames.

    The accelerators are tried in their order, once for each size of the images, when the first frame of that size has
    been served. If one cannot be made, does not find in that frame what the first network found, or fails while it
    runs, the next one is tried, and the first network serves meanwhile; `backend` says why the better ones do not. For
    one caller at a time.

    Args:
        first: serves until then.
        accelerators: at least one, best first; made in a thread of its own.
    """

    def __init__(self, first: Network, accelerators: Sequence[Accelerator]) -> None:
        if not accelerators:
            raise ValueError("there is nothing to swap to")
        self._first = first
        self._accelerators = tuple(accelerators)
        self._lock = threading.Lock()
        self._attempts: dict[object, _Attempts] = {}
        self._shown = _Attempts(said={self._accelerators[0].name: "starts with the first frame"})
        self._serving = first
        self._making = False

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, which all backends of a model file share."""
        return self._first.input_names

    @property
    def backend(self) -> str:
        """What served the last frame, how far a better one is, and why the better ones do not serve."""
        with self._lock:
            serving, shown = self._serving, self._shown
            own_name = None if serving is self._first else self._accelerators[shown.begun - 1].name
            said = [f"{name}: {text}" for name, text in shown.said.items() if name != own_name]
            return "; ".join([serving.backend, *said])

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the best network there is on one frame."""
        return self._served(inputs, lambda network: network(inputs), lambda output: output)

    def instances(self, inputs: Mapping[str, NDArray], selection: Selection, class_names: tuple[str, ...]) -> Instances:
        """Of one frame, by the best network there is."""
        return self._served(
            inputs,
            lambda network: instances_of(network, inputs, selection, class_names),
            lambda output: selected_instances(output, inputs, selection, class_names),
        )

    def _served(
        self,
        inputs: Mapping[str, NDArray],
        by_better: Callable[[Network], _Result],
        by_first: Callable[[NetworkOutput], _Result],
    ) -> _Result:
        """What the better network makes of a frame, or while there is none, what follows from the first one's output.

        The first one's output is needed as it is: a better network is held against it.
        """
        shapes = {name: array.shape for name, array in inputs.items()}
        identity = tuple(sorted(shapes.items()))
        with self._lock:
            attempts = self._attempts.get(identity, _Attempts())
            better = attempts.better
            if better is not None:
                self._serving, self._shown = better, attempts
        if better is not None:
            try:
                return by_better(better)
            except Exception as error:  # a GPU that fails must not stop the robot
                with self._lock:
                    self._serving, attempts.better = self._first, None
                    attempts.said[self._accelerators[attempts.begun - 1].name] = f"failed on a frame: {error}"
        output = self._first(inputs)
        with self._lock:
            self._attempts[identity] = attempts
            self._serving, self._shown = self._first, attempts
            start = attempts.better is None and attempts.begun < len(self._accelerators) and not self._making
            self._making = self._making or start
        if start:
            arguments = attempts, inputs, output
            threading.Thread(target=self._make, args=arguments, name="better network", daemon=True).start()
        return by_first(output)

    def _make(self, attempts: _Attempts, inputs: Mapping[str, NDArray], expected: NetworkOutput) -> None:
        """Tries the accelerators that are left, until one succeeds.

        Args:
            inputs: of a frame.
            expected: what the first network finds in it.
        """
        for accelerator in self._accelerators[attempts.begun :]:
            better = None
            report = partial(self._report, attempts, accelerator.name)
            report("starting")
            try:
                better, news = accelerator.network(inputs, expected, report), "ready"
            except Exception as error:  # whatever it is, the first network goes on and the reason is shown
                news = f"failed: {error}"
            with self._lock:
                attempts.begun += 1
                attempts.said[accelerator.name] = news
                attempts.better = better
            if better is not None:
                break
        with self._lock:
            self._making = False

    def _report(self, attempts: _Attempts, name: str, line: str) -> None:
        with self._lock:
            attempts.said[name] = line
