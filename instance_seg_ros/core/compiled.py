"""Kernels: loops over arrays, compiled by Numba for the machine that they run on.

A kernel is compiled by `compile_kernels`, or when it is first called: for the types that it declares and no others, so
that no frame ever waits because an array is of another kind; that is a TypeError. The machine code is kept in
`__pycache__` beside the module, or in the user's cache (`~/.cache/numba`) where that cannot be written to;
NUMBA_CACHE_DIR names another folder, and NUMBA_DISABLE_JIT=1 runs the Python code as it stands.

Kept code is used again as long as the file of the kernel is the same, and those of the functions with `inner` that it
calls. So the constants that either reads must be in its own file.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import numba
from numba.core import sigutils, types
from numba.core.errors import NumbaError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])

# Division by zero gives infinities and NaN as in NumPy, and sums are added up in the order in which they are written.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False}


class Kernel(Generic[Parameters, Result]):
    """A function over arrays and numbers that is compiled before it runs.

    Attributes:
        is_ready: whether it was compiled or loaded.
        is_new: whether this process compiled it, as nothing that was kept could be loaded.
        folder: where its machine code is kept; None where it is not.
        not_kept: why it is not, or empty.
    """

    def __init__(
        self, function: Callable[Parameters, Result], argument_types: tuple[str, ...], writes: tuple[str, ...]
    ) -> None:
        functools.update_wrapper(self, function)
        self.is_new = False
        self.folder: str | None = None
        self.not_kept = ""
        self._function = function
        self._argument_types, self._writes = argument_types, writes
        self._ready: Callable[Parameters, Result] | None = None
        self._preparing = threading.Lock()

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        """Runs it, and compiles it first where that was not done.

        Raises:
            TypeError: for arguments that are not of the declared types, such as an array that is not contiguous.
        """
        ready = self._ready or self.prepare()
        return ready(*args, **kwargs)

    @property
    def is_ready(self) -> bool:
        """Whether it was compiled or loaded."""
        return self._ready is not None

    def prepare(self) -> Callable[Parameters, Result]:
        """What is called: loaded from where it was kept, or compiled now."""
        with self._preparing:
            if self._ready is None:
                self._ready = self._function if numba.config.DISABLE_JIT else self._compiled()
            return self._ready

    def _compiled(self) -> Callable[Parameters, Result]:
        signature = self._signature()
        try:
            dispatcher = self._kept(signature)
        except NumbaError:
            raise
        except (RuntimeError, OSError) as error:  # no folder can be written to, or the disk is full
            self.folder, self.not_kept = None, str(error)
            dispatcher = numba.njit(**_OPTIONS)(self._function)
            dispatcher.compile(signature)
        self.is_new = not dispatcher.stats.cache_hits
        dispatcher.disable_compile()
        return dispatcher  # type: ignore[no-any-return]

    def _kept(self, signature: tuple[Any, ...]) -> Any:
        dispatcher = numba.njit(**_OPTIONS)(self._function)
        dispatcher.enable_caching()
        others = _stamp_of_called(self._function)
        if others:  # Numba looks at the kernel's own file alone
            index = dispatcher._cache._cache_file
            index._source_stamp = index._source_stamp, others
        self.folder = str(dispatcher.stats.cache_path)
        with _alone_in(self.folder):
            try:
                dispatcher.compile(signature)
            except NumbaError:
                raise
            except Exception:  # of whatever type: what was kept is damaged, and goes
                dispatcher._cache.flush()
                dispatcher.compile(signature)
        return dispatcher

    def _signature(self) -> tuple[Any, ...]:
        parsed, _ = sigutils.normalize_signature(f"({', '.join(self._argument_types)},)")
        code = self._function.__code__
        return tuple(
            own.copy(readonly=True) if isinstance(own, types.Array) and name not in self._writes else own
            for name, own in zip(code.co_varnames[: code.co_argcount], parsed, strict=True)
        )


_TELL_EVERY_S = 30.0
"""Of a compilation that takes longer, as on a board or beside other work."""
_kernels: list[Kernel[..., Any]] = []


def kernel(
    *argument_types: str, writes: tuple[str, ...] = ()
) -> Callable[[Callable[Parameters, Result]], Kernel[Parameters, Result]]:
    """Makes a kernel of a function.

    Args:
        argument_types: as Numba writes them, one for each argument: `float32[:, ::1]` is a contiguous image.
        writes: names of the arguments that it writes to; all other arrays are only read.
    """

    def decorated(function: Callable[Parameters, Result]) -> Kernel[Parameters, Result]:
        own = Kernel(function, argument_types, writes)
        _kernels.append(own)
        return own

    return decorated


def inner(function: Function) -> Function:
    """Makes a function that kernels call; it becomes a part of each."""
    return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


def compile_kernels(report: Callable[[str], None]) -> None:
    """Makes the kernels of all imported modules ready, so that no frame waits for them.

    Args:
        report: is given a line when something has to be compiled, one now and then while that lasts, and one with the
            seconds that it took; nothing where all of it was kept.
    """
    start_s, new = time.monotonic(), 0
    told_s = start_s
    waiting = [own for own in _kernels if not own.is_ready]
    for place, own in enumerate(waiting):
        own.prepare()
        new += own.is_new
        if own.is_new and new == 1:
            most = len(waiting) - place
            report(
                f"compiling up to {most} functions for this machine, once: one to two minutes, more beside other work"
            )
        elif own.is_new and time.monotonic() - told_s > _TELL_EVERY_S:
            told_s = time.monotonic()
            report(f"compiling: {place + 1} of {len(waiting)} functions are ready after {told_s - start_s:.0f} s")
    if new:
        folders = sorted({own.folder for own in waiting if own.folder is not None})
        causes = sorted({own.not_kept for own in waiting if own.not_kept})
        kept = [f"kept below {os.path.commonpath(folders)}"] if folders else []
        lost = [f"not kept, so that the next start compiles again ({'; '.join(causes)})"] if causes else []
        report(f"compiled {new} functions in {time.monotonic() - start_s:.1f} s; {'; '.join(kept + lost)}")


def _stamp_of_called(function: Callable[..., Any]) -> bytes:
    """What is in the other files of the inner functions that a function calls, as hashes; empty where it calls none."""
    called, waiting = {function}, [function]
    while waiting:
        own = waiting.pop()
        used = (own.__globals__.get(name) for name in own.__code__.co_names)
        new = {other.py_func for other in used if isinstance(other, numba.core.dispatcher.Dispatcher)} - called
        called |= new
        waiting += new
    others = {own.__code__.co_filename for own in called} - {function.__code__.co_filename}
    return b"".join(hashlib.sha256(Path(path).read_bytes()).digest() for path in sorted(others))


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """One process at a time: the others then load what the first one compiled, and no two write to one index."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks; files still appear as a whole
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
