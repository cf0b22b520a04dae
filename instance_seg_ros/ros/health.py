"""What the node counts of itself: messages, frames, times and problems, each problem under its cause."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus

from instance_seg_ros.grasping.grasp import InstanceGrasps
from instance_seg_ros.lifting import Instance3D

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

LOG_PERIOD_S = 5.0
"""A problem that persists is logged once in this many seconds."""
RECENT_S = 10.0
"""A problem counts as recent for this many seconds after it last occurred."""
WINDOW_FRAMES = 100
"""Rates and times are those of this many latest frames."""


RECEIVED, ANSWERED, UNUSABLE = "frames received", "answered", "unusable"
NEWER, IGNORED = "dropped for a newer frame", "ignored while disabled"
STOPPED, GIVEN_UP = "dropped by a deactivation", "given up"
FATES = (ANSWERED, UNUSABLE, NEWER, IGNORED, STOPPED, GIVEN_UP)
"""What becomes of each frame that was received, but for the ones at work and waiting: the counts add up."""


@dataclass
class _Problem:
    level: bytes
    text: str = ""
    count: int = 0
    last_s: float = float("-inf")
    logged_s: float = float("-inf")


@dataclass
class _Arrivals:
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW_FRAMES))
    count: int = 0


@dataclass(frozen=True)
class InputReport:
    """One input topic at one time.

    Attributes:
        topic: its full name.
        publishers: how many nodes publish on it.
        received: messages since the node was activated.
        silent_s: seconds since the last one, since activation when there was none.
    """

    topic: str
    publishers: int
    received: int
    silent_s: float


@dataclass(frozen=True)
class Condition:
    """How processing goes.

    Attributes:
        level: of the worst recent problem, OK without one.
        message: the recent problems of that level in words, the latest first.
        facts: rate, ages, times by stage, how far colour was moved, grasps and why poses were none since the node
            started, and each problem with its count, by name.
    """

    level: bytes
    message: str
    facts: Mapping[str, object]


class Health:
    """Counters that callbacks and the worker's thread feed, and the diagnostics read. Thread safe.

    Args:
        now_s: a clock that never jumps, in seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._problems: dict[str, _Problem] = {}
        self._inputs: dict[str, _Arrivals] = {}
        self._finished_s: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._ages_s: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._stages_s: dict[str, deque[float]] = {}
        self._color_moved_px: deque[tuple[int, int]] = deque(maxlen=WINDOW_FRAMES)
        self._frames = dict.fromkeys((RECEIVED, *FATES), 0)
        self._instances: Counter[str] = Counter()
        self._active_since_s = now_s()

    def activated(self) -> None:
        """Starts the inputs' clocks: before this nothing could arrive."""
        with self._lock:
            self._active_since_s = self._now_s()
            self._inputs.clear()

    def problem(self, cause: str, text: str, level: bytes = WARN) -> bool:
        """Counts a problem.

        Args:
            cause: its short name, under which it is counted.
            text: what happened, why and what helps.

        Returns:
            Whether to log it now: once in `LOG_PERIOD_S` for each cause.
        """
        with self._lock:
            now_s = self._now_s()
            known = self._problems.setdefault(cause, _Problem(level))
            known.level, known.text, known.last_s = level, text, now_s
            known.count += 1
            log = now_s - known.logged_s >= LOG_PERIOD_S
            if log:
                known.logged_s = now_s
            return log

    def arrived(self, name: str) -> None:
        """Counts a message of an input."""
        with self._lock:
            arrivals = self._inputs.setdefault(name, _Arrivals())
            arrivals.count += 1
            arrivals.times_s.append(self._now_s())

    def input(self, name: str, topic: str, publishers: int) -> InputReport:
        """The state of an input."""
        with self._lock:
            arrivals = self._inputs.get(name, _Arrivals())
            since_s = arrivals.times_s[-1] if arrivals.times_s else self._active_since_s
            return InputReport(topic, publishers, arrivals.count, self._now_s() - since_s)

    def rate_hz(self, name: str) -> float:
        """Messages a second of an input, over the latest ones."""
        with self._lock:
            return _rate_hz(self._inputs.get(name, _Arrivals()).times_s, self._now_s())

    def counted(self, fate: str, frames: int = 1) -> None:
        """Counts frames that were received, or what became of them."""
        with self._lock:
            self._frames[fate] += frames

    def frames(self) -> dict[str, int]:
        """How many frames were received and what became of them, since the node started."""
        with self._lock:
            return dict(self._frames)

    def processed(self, age_s: float, stage_times_s: Mapping[str, float]) -> None:
        """Takes the age and the times of a frame that was processed."""
        with self._lock:
            self._finished_s.append(self._now_s())
            self._ages_s.append(age_s)
            for stage, seconds in stage_times_s.items():
                self._stages_s.setdefault(stage, deque(maxlen=WINDOW_FRAMES)).append(seconds)

    def aligned(self, color_moved_px: tuple[int, int]) -> None:
        """Takes how far to the right and down the picture of a frame was moved onto its depth."""
        with self._lock:
            self._color_moved_px.append(color_moved_px)

    def grasped(self, instances: Sequence[InstanceGrasps]) -> None:
        """Counts the instances of a frame with and without grasps, and the poses that were none, by their reason."""
        with self._lock:
            for own in instances:
                self._instances["instances with grasps" if own.grasps else "instances without grasps"] += 1
                self._instances.update({f"rejected grasps: {why.value}": count for why, count in own.rejected.items()})

    def placed(self, instances: Sequence[Instance3D]) -> None:
        """Counts the instances of a frame whose place is not known, as too little of them has depth."""
        unknown = sum(own.centroid_m is None for own in instances)
        if unknown:
            with self._lock:
                self._instances["instances without a place, for want of depth"] += unknown

    def condition(self) -> Condition:
        """How processing goes at the moment."""
        with self._lock:
            now_s = self._now_s()
            rate_hz = _rate_hz(self._finished_s, now_s)
            facts: dict[str, object] = {"rate_hz": f"{rate_hz:.1f}"}
            if self._ages_s:
                facts["age_median_s"] = f"{np.median(self._ages_s):.3f}"
                facts["age_max_s"] = f"{max(self._ages_s):.3f}"
            for stage, seconds in self._stages_s.items():
                facts[f"{stage}_median_ms"] = f"{np.median(seconds) * 1e3:.1f}"
            if self._color_moved_px:
                right_px, down_px = np.median(self._color_moved_px, axis=0)
                facts["colour_moved_onto_depth_median_px"] = f"{right_px:.0f} right, {down_px:.0f} down"
            facts |= self._instances
            for cause, problem in self._problems.items():
                facts[f"{cause}: count"] = problem.count
                facts[f"{cause}: last"] = problem.text
            recent = [problem for problem in self._problems.values() if now_s - problem.last_s < RECENT_S]
        if not recent:
            return Condition(OK, "processing", facts)
        level = max(problem.level for problem in recent)
        worst = sorted((problem for problem in recent if problem.level == level), key=lambda problem: -problem.last_s)
        return Condition(level, "; ".join(problem.text for problem in worst), facts)


def _rate_hz(times_s: deque[float], now_s: float) -> float:
    """Events a second over the window up to now, so that it falls when events stop."""
    if len(times_s) < 2:
        return 0.0
    return len(times_s) / max(now_s - times_s[0], 1e-9)
