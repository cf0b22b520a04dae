"""What the C library keeps of memory that the process no longer uses.

glibc gives each thread a heap of up to 64 MB pieces, and once a large block was freed it takes such blocks from these
heaps as well, up to 32 MB each. Every configure works in new threads, whose heaps keep the room of what they freed: not
a leak, but a process that has grown by some 50 MB after a configure, as chance has it, and by 20 % after ten.
https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html
"""

from __future__ import annotations

import ctypes
import os

# M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 4 << 20
"""A block of this size is given back when it is freed. A smaller one, such as an image of 1280x720 in float32, stays in
the heap: having the pages zeroed anew for every frame takes a tenth of the frame's time."""
_KEPT_BYTES = 64 << 20
"""What stays at the heap's end, likewise."""


def keep_one_heap() -> None:
    """Has all threads share one heap, and large blocks given back when they are freed.

    For the whole process, and before any library starts threads. Left as it is where the user has settings of malloc
    in the environment, or the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    has_own = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if mallopt is None or has_own:
        return
    for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES)):
        mallopt(option, value)


def give_back() -> None:
    """Gives the system back what is free in the heaps, which takes some ten milliseconds; of glibc only."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
