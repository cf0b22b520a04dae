"""Work on an NVIDIA GPU, the same for every frame: buffers at fixed addresses, a stream of its own, a CUDA graph.

Needs PyTorch; the TensorRT and the PyTorch backend both run through it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from instance_seg_ros.core.errors import InputError
from instance_seg_ros.segmentation.model_file import ModelError


class Buffer:
    """One input or output: pinned memory here, memory on the GPU, and the copy between them on the current stream.

    Made on the stream that it is used on, which fills it with zeros before anything else.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._name = name
        self._host = torch.zeros(shape, dtype=dtype, pin_memory=True)
        self.device = torch.zeros(shape, dtype=dtype, device="cuda")
        self._array: NDArray = self._host.numpy()

    @property
    def address(self) -> int:
        """Of the memory on the GPU."""
        return self.device.data_ptr()

    def put(self, array: NDArray) -> None:
        """Copies an array in; the stream must have been synchronised since the last upload.

        Raises:
            ModelError: the array has another shape; copying would repeat or refuse it.
        """
        if array.shape != self._array.shape:
            raise ModelError(f"the network was made for {self._name} of shape {self._array.shape}, not {array.shape}")
        np.copyto(self._array, array)

    def upload(self) -> None:
        self.device.copy_(self._host, non_blocking=True)

    def download(self) -> None:
        self._host.copy_(self.device, non_blocking=True)

    def get(self) -> NDArray:
        """A copy, which the next frame does not overwrite; the stream must have been synchronised."""
        return self._array.copy()


@contextmanager
def capturing(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream, error_mode: str) -> Iterator[None]:
    """Captures what is put on a stream into a graph, instead of having it done.

    An error in between makes the end of the capture fail as well. PyTorch raises that second error, which says nothing,
    and leaves the stream the current one; here the first one is raised, and the stream is left.

    Args:
        graph: a new one.
        stream: not the default one.
        error_mode: "thread_local": only what this thread calls may break the capture; "relaxed": nor does that.
    """
    first: Exception | None = None
    with torch.cuda.stream(stream):
        try:
            with torch.cuda.graph(graph, stream=stream, capture_error_mode=error_mode):
                try:
                    yield
                except Exception as error:
                    first = error
                    raise
        except RuntimeError:
            if first is not None:
                raise first from None
            raise


class GraphedWork:
    """Uploads, one replay of a CUDA graph, downloads. For one caller at a time.

    A graph holds the addresses that its kernels read and write, and keeps nothing alive that lies there. Its own
    temporary tensors are in a pool that goes with it; for all else, `enqueue` is kept as long as the graph.

    Args:
        stream: that the buffers were made on; not the default one.
        inputs, outputs: by name.
        enqueue: puts the work from the inputs' memory on the GPU to the outputs' on the current stream, the same at
            every call, without waiting for anything. It owns what that work reads besides: weights, indices, an engine
            and its execution context.

    Raises:
        InputError, RuntimeError: the work itself fails.
    """

    def __init__(
        self,
        stream: torch.cuda.Stream,
        inputs: Mapping[str, Buffer],
        outputs: Mapping[str, Buffer],
        enqueue: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._inputs = dict(inputs)
        self._outputs = dict(outputs)
        self._enqueue = enqueue
        self._launch, self.note = self._warmed_up()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(self._inputs)

    def __call__(self, arrays: Mapping[str, NDArray], wanted: Collection[str] | None = None) -> dict[str, NDArray]:
        """The outputs by name for one frame.

        Args:
            arrays: for each of `input_names`, of its shape.
            wanted: names of the outputs that are downloaded; None: all.

        Raises:
            ModelError: an input has another shape.
        """
        outputs = {name: buffer for name, buffer in self._outputs.items() if wanted is None or name in wanted}
        with torch.cuda.stream(self._stream):
            for name, buffer in self._inputs.items():
                buffer.put(arrays[name])
                buffer.upload()  # while the next one is put
            self._launch()
            for buffer in outputs.values():
                buffer.download()
        self._stream.synchronize()
        return {name: buffer.get() for name, buffer in outputs.items()}

    def _warmed_up(self) -> tuple[Callable[[], None], str]:
        """What launches the work, and a note about it: a CUDA graph, or failing that one call for each kernel."""
        with torch.cuda.stream(self._stream):
            # Outside the graph: libraries choose kernels and set up lazy parts, which may not be captured.
            self._enqueue()
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            # Thread-local, so that CUDA calls of another thread of this process cannot break the capture.
            with capturing(graph, self._stream, "thread_local"):
                self._enqueue()
        except (InputError, RuntimeError) as error:
            return self._enqueue, f" without a CUDA graph ({error})"
        return graph.replay, ""
