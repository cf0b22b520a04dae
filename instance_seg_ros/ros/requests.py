"""Calls of the service `segment` that wait for a frame, and the choice of the instances that a call asks for."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rclpy.task import Future
from sensor_msgs.msg import RegionOfInterest

from instance_seg_ros.msg import Instance, InstanceArray
from instance_seg_ros.segmentation.prompts import Prompts, phrases_of
from instance_seg_ros.srv import Segment

DEFAULT_TIMEOUT_S = 5.0
LONGEST_TIMEOUT_S = 3600.0
MOST_WAITING = 500
MOST_PROMPTS = 100
"""Of one call: each takes time in which no frame is processed."""


@dataclass(frozen=True)
class _Waiting:
    future: Future
    since_s: float
    prompts: Prompts


class PendingRequests:
    """The calls that wait for a result. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def __bool__(self) -> bool:
        with self._lock:
            return bool(self._waiting)

    def add(self, wake: Callable[[], object], prompts: Prompts = Prompts()) -> Future | None:  # noqa: B008 - immutable
        """A future of the next frame's InstanceArray, None where `MOST_WAITING` calls wait already.

        Args:
            wake: is called when the answer is there.
            prompts: that the call wants objects cut out for.
        """
        future = Future()
        future.add_done_callback(lambda _: wake())
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return None
            self._waiting.append(_Waiting(future, time.monotonic(), prompts))
        return future

    def answer(
        self,
        answer: InstanceArray,
        arrived_s: float,
        cut_out: Callable[[Prompts], InstanceArray] | None = None,
    ) -> None:
        """Gives the answer to a frame that arrived at that time (monotonic clock) to all calls made before.

        Args:
            cut_out: makes the answer of calls with prompts; None: they get the answer, which says what is wrong.
        """
        with self._lock:
            ready = [waiting for waiting in self._waiting if waiting.since_s <= arrived_s]
            self._waiting = [waiting for waiting in self._waiting if waiting.since_s > arrived_s]
        for waiting in ready:
            prompts = waiting.prompts
            waiting.future.set_result(cut_out(prompts) if prompts and cut_out is not None else answer)

    def cancel(self, future: Future) -> None:
        """Gives a call up: its future's result is None, unless it was answered already."""
        with self._lock:
            waited = any(waiting.future is future for waiting in self._waiting)
            self._waiting = [waiting for waiting in self._waiting if waiting.future is not future]
        if waited:
            future.set_result(None)

    def cancel_all(self) -> None:
        """Gives all calls up."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for entry in waiting:
            entry.future.set_result(None)


def selected(answer: InstanceArray, request: Segment.Request) -> InstanceArray:
    """The answer with only the instances that pass all filters of the request."""
    words = request.text.lower().split()
    chosen = copy.copy(answer)
    chosen.instances = [
        instance
        for instance in answer.instances
        if (not request.class_names or instance.class_name in request.class_names)
        and (not request.track_ids or instance.track_id in request.track_ids)
        and _centre_inside(instance.region, request.region)
        and (not request.points or any(_has_pixel(instance, point.x, point.y) for point in request.points))
        and (not words or any(word in instance.class_name.lower() for word in words))
    ]
    return chosen


def selected_beside_prompts(answer: InstanceArray, request: Segment.Request) -> InstanceArray:
    """The answer to prompts with only the instances of the classes and in the region of the request."""
    return selected(answer, Segment.Request(class_names=request.class_names, region=request.region))


def _centre_inside(region: RegionOfInterest, wanted: RegionOfInterest) -> bool:
    if wanted.width == 0 or wanted.height == 0:
        return True
    x, y = region.x_offset + region.width / 2, region.y_offset + region.height / 2
    return bool(
        wanted.x_offset <= x < wanted.x_offset + wanted.width and wanted.y_offset <= y < wanted.y_offset + wanted.height
    )


def _has_pixel(instance: Instance, x: float, y: float) -> bool:
    """Whether the mask holds the pixel around a point of the image."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return False
    column, row = round(x) - instance.region.x_offset, round(y) - instance.region.y_offset
    mask = instance.mask
    return 0 <= column < mask.width and 0 <= row < mask.height and mask.data[row * mask.step + column] > 0


def prompts_of(request: Segment.Request) -> Prompts:
    """What a call asks for by points, rectangles and words."""
    return Prompts(
        tuple((point.x, point.y) for point in request.points),
        tuple(
            (box.x_offset, box.y_offset, box.x_offset + box.width, box.y_offset + box.height) for box in request.boxes
        ),
        phrases_of(request.text),
    )


def unanswered_text(wanted: Prompts, taken: Prompts, track_ids: Sequence[int] = ()) -> str:
    """What of a call would be dropped since nothing answers it, and what to do; empty where nothing is.

    Args:
        wanted: by the call.
        taken: of it, by the models; where they take nothing, all of it selects among what the network finds.
        track_ids: that the call asks for; what is cut out for prompts has none.
    """
    if not taken:
        return ""
    for x0, y0, x1, y1 in taken.boxes_xyxy:
        if x1 <= x0 or y1 <= y0:
            return f"the rectangle at ({x0}, {y0}) holds no pixel: it is {x1 - x0} px wide and {y1 - y0} px high"
    if len(track_ids):
        return "what points, rectangles and words have cut out has no track_id; leave track_ids empty beside them"
    needed = [
        f"{what} take segmentation.{setting}"
        for what, asked, answered, setting in (
            ("points", wanted.points_xy, taken.points_xy, "prompt_model_path"),
            ("words", wanted.phrases, taken.phrases, "text_model_path"),
        )
        if asked and not answered
    ]
    return f"beside other prompts {' and '.join(needed)}; set it, or ask for one at a time" if needed else ""
