"""Pairs colour and depth images by their stamps; the node and the bag reader use the same class."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Color = TypeVar("Color")
Depth = TypeVar("Depth")
Item = TypeVar("Item")

NS_PER_S = 1_000_000_000
_CLOCK_SET_BACK_NS = NS_PER_S // 2
"""If an image is older than an earlier one of its kind by more than this, the clock was set back in between."""


@dataclass(frozen=True)
class Stamped(Generic[Item]):
    """Something with its time in nanoseconds."""

    stamp_ns: int
    item: Item


@dataclass(frozen=True)
class Pair(Generic[Color, Depth]):
    """A colour and a depth image of (nearly) the same time."""

    color: Stamped[Color]
    depth: Stamped[Depth]

    @property
    def offset_s(self) -> float:
        """Depth stamp minus colour stamp, seconds."""
        return (self.depth.stamp_ns - self.color.stamp_ns) / NS_PER_S


class FramePairer(Generic[Color, Depth]):
    """Joins two streams of stamped images into pairs, each image in one pair at most.

    An image that arrives is paired at once with the waiting image of the other kind that is nearest in time, when that
    is within the tolerance; what is older than a pair is then dropped, because streams move forward. Only the latest
    `capacity` arrivals of each kind wait, so memory is bounded. When a clock is set back (a bag that loops, a simulator
    that restarts), what waits from before is dropped: it would find a partner when its time comes again.

    After a lost image the next one may be paired with a partner of the moment before, where the frame period is below
    the tolerance. The partner of its own moment, which then comes too late, is dropped: if it waited, all that follow
    would be paired with the moment before.

    Attributes:
        pairs: number of pairs made.
        unpaired_colors, unpaired_depths: number of images that were dropped without a partner.
        nearest_offset_s: for the latest image, when it found no partner though the other kind was waiting: depth stamp
            minus colour stamp of the nearest; None when it was paired or the other kind is missing altogether.

    Example:
        >>> pairer = FramePairer(tolerance_s=0.01)
        >>> pairer.add_color(1_000_000_000, "color")
        >>> pairer.add_depth(1_004_000_000, "depth").offset_s
        0.004
    """

    def __init__(self, tolerance_s: float, capacity: int = 10) -> None:
        """Takes the largest difference of two stamps that make a pair and how many images of a kind may wait."""
        if not 0 <= tolerance_s < float("inf"):
            raise ValueError(f"tolerance_s must be finite and not negative, not {tolerance_s}")
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self._tolerance_ns = round(tolerance_s * NS_PER_S)
        self._capacity = capacity
        self._colors: deque[Stamped[Color]] = deque()
        self._depths: deque[Stamped[Depth]] = deque()
        self._latest_ns: tuple[int, int] | None = None  # stamps of the latest pair, colour and depth
        self.pairs = 0
        self.unpaired_colors = 0
        self.unpaired_depths = 0
        self.nearest_offset_s: float | None = None

    def add_color(self, stamp_ns: int, color: Color) -> Pair[Color, Depth] | None:
        """Takes a colour image; the pair that it completes, if any."""
        arrival = Stamped(stamp_ns, color)
        self.unpaired_colors += _drop_if_set_back(self._colors, stamp_ns)
        if self._latest_ns is not None and _is_nearer(stamp_ns, *self._latest_ns):
            self.unpaired_colors += 1
            return None
        depth = self._nearest(self._depths, stamp_ns)
        if depth is not None and abs(depth.stamp_ns - stamp_ns) <= self._tolerance_ns:
            return self._pair(arrival, depth)
        self.nearest_offset_s = None if depth is None else (depth.stamp_ns - stamp_ns) / NS_PER_S
        self._colors.append(arrival)
        if len(self._colors) > self._capacity:
            self._colors.popleft()
            self.unpaired_colors += 1
        return None

    def add_depth(self, stamp_ns: int, depth: Depth) -> Pair[Color, Depth] | None:
        """Takes a depth image; the pair that it completes, if any."""
        arrival = Stamped(stamp_ns, depth)
        self.unpaired_depths += _drop_if_set_back(self._depths, stamp_ns)
        if self._latest_ns is not None and _is_nearer(stamp_ns, *self._latest_ns[::-1]):
            self.unpaired_depths += 1
            return None
        color = self._nearest(self._colors, stamp_ns)
        if color is not None and abs(color.stamp_ns - stamp_ns) <= self._tolerance_ns:
            return self._pair(color, arrival)
        self.nearest_offset_s = None if color is None else (stamp_ns - color.stamp_ns) / NS_PER_S
        self._depths.append(arrival)
        if len(self._depths) > self._capacity:
            self._depths.popleft()
            self.unpaired_depths += 1
        return None

    @property
    def waiting(self) -> tuple[int, int]:
        """Number of colour and of depth images that wait for a partner."""
        return len(self._colors), len(self._depths)

    def flush(self) -> None:
        """Drops what waits, as unpaired: at the end of a recording, or when a node stops."""
        self.unpaired_colors += len(self._colors)
        self.unpaired_depths += len(self._depths)
        self._colors.clear()
        self._depths.clear()

    @staticmethod
    def _nearest(waiting: deque[Stamped[Item]], stamp_ns: int) -> Stamped[Item] | None:
        return min(waiting, key=lambda stamped: abs(stamped.stamp_ns - stamp_ns), default=None)

    def _pair(self, color: Stamped[Color], depth: Stamped[Depth]) -> Pair[Color, Depth]:
        self.pairs += 1
        self.nearest_offset_s = None
        self._colors, dropped_colors = _newer(self._colors, color)
        self._depths, dropped_depths = _newer(self._depths, depth)
        self.unpaired_colors += dropped_colors
        self.unpaired_depths += dropped_depths
        self._latest_ns = color.stamp_ns, depth.stamp_ns
        return Pair(color, depth)


def _is_nearer(stamp_ns: int, paired_ns: int, partner_ns: int) -> bool:
    """Whether an arrival would have been a better partner than the image of its kind that was paired."""
    return abs(stamp_ns - partner_ns) < abs(paired_ns - partner_ns)


def _drop_if_set_back(waiting: deque[Stamped[Item]], stamp_ns: int) -> int:
    """Empties the queue when the arrival says that the clock was set back; how many images that drops."""
    set_back = any(stamped.stamp_ns - stamp_ns > _CLOCK_SET_BACK_NS for stamped in waiting)
    dropped = len(waiting) if set_back else 0
    if set_back:
        waiting.clear()
    return dropped


def _newer(waiting: deque[Stamped[Item]], paired: Stamped[Item]) -> tuple[deque[Stamped[Item]], int]:
    """What may still wait after `paired` found its partner, and how many images that drops beside `paired` itself."""
    others = [stamped for stamped in waiting if stamped is not paired]
    kept = deque(stamped for stamped in others if stamped.stamp_ns >= paired.stamp_ns)
    return kept, len(others) - len(kept)
