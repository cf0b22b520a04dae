"""A network that serves with one backend until a better one is ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from numpy.typing import NDArray

from instance_seg_ros.segmentation.network import Network
from instance_seg_ros.segmentation.postprocessing import NetworkOutput

Shapes = Mapping[str, tuple[int, ...]]
"""Shape by input name."""
Report = Callable[[str], None]
"""Takes a line about what goes on."""


class SwappingNetwork:
    """Serves every frame while a better network is made in the background; swaps between two frames.

    A better network is made once for each shape of the images, when the first of that shape has been served. One that
    cannot be made or fails while it runs leaves the first one serving, and `backend` says why. For one caller at a
    time.

    Args:
        first: serves until then.
        better_name: what the better one is called until it can speak for itself.
        make_better: makes it for inputs of these shapes, in a thread of its own; may take an hour, raise anything, and
            say how far it is.
    """

    def __init__(self, first: Network, better_name: str, make_better: Callable[[Shapes, Report], Network]) -> None:
        self._first = first
        self._better_name = better_name
        self._make_better = make_better
        self._lock = threading.Lock()
        self._better: dict[object, Network] = {}
        self._attempted: set[object] = set()
        self._making = False
        self._serving = first
        self._news = "starts with the first frame"

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, which all backends of a model file share."""
        return self._first.input_names

    @property
    def backend(self) -> str:
        """What serves, and how far the better one is or why there is none."""
        with self._lock:
            if self._serving is not self._first:
                return self._serving.backend
            return f"{self._first.backend}; {self._better_name}: {self._news}"

    def __call__(self, inputs: Mapping[str, NDArray]) -> NetworkOutput:
        """Runs the best network there is on one frame."""
        shapes = {name: array.shape for name, array in inputs.items()}
        identity = tuple(sorted(shapes.items()))
        with self._lock:
            self._serving = self._better.get(identity, self._first)
        if self._serving is not self._first:
            try:
                return self._serving(inputs)
            except Exception as error:  # a GPU that fails must not stop the robot
                with self._lock:
                    del self._better[identity]
                    self._serving = self._first
                    self._news = f"failed on a frame: {error}"
        output = self._first(inputs)
        with self._lock:
            start = identity not in self._attempted and not self._making
            if start:
                self._attempted.add(identity)
                self._making = True
                self._news = "starting"
        if start:
            threading.Thread(target=self._make, args=(identity, shapes), name="better network", daemon=True).start()
        return output

    def _make(self, identity: object, shapes: Shapes) -> None:
        better, news = None, "ready"
        try:
            better = self._make_better(shapes, self._report)
        except Exception as error:  # whatever it is, the first network goes on and the reason is shown
            news = f"failed: {error}"
        with self._lock:
            self._making = False
            self._news = news
            if better is not None:
                self._better[identity] = better

    def _report(self, line: str) -> None:
        with self._lock:
            self._news = line
