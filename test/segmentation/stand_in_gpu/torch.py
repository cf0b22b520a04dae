"""Stands in for PyTorch with CUDA, as far as the backends drive a GPU by it; for tests on machines without one.

Work on a stream waits until the stream is synchronised, as on a GPU: who reads too early reads what was there before.
Memory of the GPU is given back with the last reference to its tensor, and then overwritten, by 0xFF: who computes with
it, as a CUDA graph does whose weights are gone, gets what is not a number.
Everything here without a leading underscore exists in PyTorch, which a test checks.

Environment: STAND_IN_FAULT=no_gpu, buffers or capture; STAND_IN_GPU names the GPU and
STAND_IN_CAPABILITY tells its compute capability.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

__version__ = "2.4.0"

float32, float16, int64, uint8 = (np.dtype(name) for name in ("float32", "float16", "int64", "uint8"))
dtype = np.dtype


def _fault(name: str) -> bool:
    return os.environ.get("STAND_IN_FAULT", "") == name


class Tensor:
    """Memory of either side.

    Work that is put on a stream holds the array behind it, as a kernel holds an address, and never the tensor.
    """

    def __init__(self, array: np.ndarray, _on_gpu: bool = False) -> None:
        self._array = array
        self._on_gpu = _on_gpu
        self._stream = cuda._current if _on_gpu else None
        self._pool = None if self._stream is None else self._stream._captured

    def __del__(self) -> None:
        """Gives the memory back as PyTorch's allocator does: to what comes next on the stream it was made on.

        What was made during a capture lies in the graph's own pool: nobody else gets it, and inside the graph only what
        is captured after it is gone.
        """
        if not self._on_gpu:
            return
        array = self._array
        _given_back.append(array)
        if self._stream is None:
            _overwrite(array)
        elif self._pool is None:
            self._stream._queue.append(lambda: _overwrite(array))
        elif self._pool is self._stream._captured:
            self._pool.append(lambda: _overwrite(array))

    def data_ptr(self) -> int:
        return self._array.ctypes.data

    def numpy(self) -> np.ndarray:
        return self._array

    def copy_(self, src: Tensor, non_blocking: bool = False) -> Tensor:
        assert non_blocking, "a copy that blocks stalls the stream"
        assert cuda._current is not None, "a copy outside the backend's own stream"
        target, source = self._array, src._array
        cuda._current._add(lambda: np.copyto(target, source))
        return self


_given_back: list[np.ndarray] = []  # so that no address of a tensor is ever used for something else


def _overwrite(array: np.ndarray) -> None:
    array.view(np.uint8).fill(0xFF)


def zeros(size: tuple[int, ...], dtype: np.dtype, pin_memory: bool = False, device: str = "cpu") -> Tensor:
    if _fault("buffers") and device == "cuda":
        raise RuntimeError("CUDA out of memory")
    assert pin_memory or device == "cuda", "memory that is not pinned cannot be copied asynchronously"
    array = np.zeros(size, dtype)
    if device == "cuda":
        assert cuda._current is not None, "filled on another stream than it is used on, in no order"
        cuda._current._add(lambda: array.fill(0))
    return Tensor(array, _on_gpu=device == "cuda")


class _Stream:
    """A queue of work."""

    def __init__(self) -> None:
        self.cuda_stream = len(cuda._streams) + 1  # 0 is the default stream
        self._queue: list[Callable[[], None]] = []
        self._captured: list[Callable[[], None]] | None = None
        cuda._streams[self.cuda_stream] = self

    def _add(self, work: Callable[[], None]) -> None:
        if self._captured is not None and _fault("capture"):
            raise RuntimeError("operation not permitted when stream is capturing")
        (self._queue if self._captured is None else self._captured).append(work)

    def synchronize(self) -> None:
        assert self._captured is None, "a stream that is being captured may not be synchronised"
        queue, self._queue = self._queue, []
        for work in queue:
            work()


class _CudaGraph:
    """Recorded work."""

    def __init__(self) -> None:
        self._work: list[Callable[[], None]] = []

    def replay(self) -> None:
        assert cuda._current is not None, "a replay outside the backend's own stream"
        for work in self._work:
            cuda._current._add(work)


class _Cuda:
    """The module torch.cuda."""

    Stream = _Stream
    CUDAGraph = _CudaGraph

    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}
        self._current: _Stream | None = None

    def is_available(self) -> bool:
        return not _fault("no_gpu")

    def current_device(self) -> int:
        return 0

    def get_device_name(self, device: int) -> str:
        return os.environ.get("STAND_IN_GPU", "Orin")

    def get_device_capability(self) -> tuple[int, int]:
        major, minor = os.environ.get("STAND_IN_CAPABILITY", "8.7").split(".")
        return int(major), int(minor)

    def get_device_properties(self, device: int) -> SimpleNamespace:
        return SimpleNamespace(name=self.get_device_name(device), major=8, minor=7, multi_processor_count=16)

    @contextmanager
    def stream(self, stream: _Stream) -> Iterator[None]:
        outer, self._current = self._current, stream
        try:
            yield
        finally:
            self._current = outer

    @contextmanager
    def graph(self, cuda_graph: _CudaGraph, stream: _Stream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode in ("global", "thread_local", "relaxed")
        assert not stream._queue, "work is left on the stream"
        stream._captured = []
        outer, self._current = self._current, stream
        try:
            yield
        except BaseException:  # PyTorch hides it, and does not go back to the stream of before
            raise RuntimeError("operation failed due to a previous error during capture") from None
        else:
            self._current = outer
            cuda_graph._work = stream._captured
        finally:
            stream._captured = None


cuda = _Cuda()


@contextmanager
def _flags(enabled: bool, benchmark: bool, allow_tf32: bool) -> Iterator[None]:
    used = (enabled, benchmark, allow_tf32)
    backends._cudnn_flags_used.add(used)
    yield


backends = SimpleNamespace(cudnn=SimpleNamespace(flags=_flags), _cudnn_flags_used=set())
