"""Calls that wait for a frame: which frame answers them, and which instances they get."""

from __future__ import annotations

import math
import time

import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Point
from sensor_msgs.msg import Image, RegionOfInterest

from instance_seg_ros.msg import Instance, InstanceArray
from instance_seg_ros.ros.requests import PendingRequests, selected
from instance_seg_ros.segmentation.prompts import Prompts
from instance_seg_ros.srv import Segment


def test_a_call_is_answered_by_a_frame_that_came_after_it_and_by_no_older_one() -> None:
    requests, woken = PendingRequests(), []
    before_s = time.monotonic()
    future = requests.add(lambda: woken.append(True))
    older, newer = InstanceArray(status_text="older"), InstanceArray(status_text="newer")

    requests.answer(older, before_s - 0.001)
    assert requests and not future.done() and not woken
    requests.answer(newer, time.monotonic())

    assert future.result() is newer
    assert woken == [True]
    assert not requests


def test_a_frame_answers_every_call_made_before_it_and_leaves_the_later_ones() -> None:
    requests = PendingRequests()
    first, second = requests.add(lambda: None), requests.add(lambda: None)
    arrived_s = time.monotonic()
    while time.monotonic() == arrived_s:
        pass
    late = requests.add(lambda: None)

    requests.answer(InstanceArray(), arrived_s)

    assert [future.done() for future in (first, second, late)] == [True, True, False]


def test_a_call_that_is_given_up_gets_no_answer_and_the_others_wait_on() -> None:
    requests = PendingRequests()
    given_up, waiting = requests.add(lambda: None), requests.add(lambda: None)

    requests.cancel(given_up)
    assert given_up.done() and given_up.result() is None and not waiting.done()
    requests.answer(InstanceArray(), time.monotonic())
    requests.cancel(waiting)

    assert waiting.result() is not None


def test_a_call_with_prompts_gets_what_was_cut_out_and_the_others_the_answer() -> None:
    requests = PendingRequests()
    prompts = Prompts(boxes_xyxy=((1, 2, 3, 4),))
    plain, with_boxes = requests.add(lambda: None), requests.add(lambda: None, prompts)
    answer, cut = InstanceArray(status_text="all"), InstanceArray(status_text="cut")

    requests.answer(answer, time.monotonic(), lambda asked: cut if asked == prompts else answer)

    assert (plain.result(), with_boxes.result()) == (answer, cut)
    unusable = requests.add(lambda: None, prompts)
    requests.answer(answer, time.monotonic(), None)
    assert unusable.result() is answer


def test_all_calls_can_be_given_up() -> None:
    requests = PendingRequests()
    futures = [requests.add(lambda: None) for _ in range(2)]

    requests.cancel_all()

    assert [future.result() for future in futures] == [None, None]
    assert not requests


def region(x: int, y: int, width: int, height: int) -> RegionOfInterest:
    return RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)


def mask(width: int, height: int, *pixels: tuple[int, int]) -> Image:
    data = bytearray(width * height)
    for x, y in pixels:
        data[y * width + x] = 255
    return Image(width=width, height=height, step=width, data=bytes(data))


INSTANCES = [
    Instance(track_id=1, class_name="cup", region=region(0, 0, 10, 20), mask=mask(10, 20, (3, 4))),  # centre (5, 10)
    Instance(track_id=2, class_name="cup", region=region(40, 0, 10, 20), mask=mask(10, 20, (5, 0))),  # centre (45, 10)
    Instance(track_id=3, class_name="box", region=region(0, 40, 11, 21)),  # centre (5.5, 50.5)
]


@pytest.mark.parametrize(
    ("request_", "ids"),
    [
        (Segment.Request(), [1, 2, 3]),
        (Segment.Request(class_names=["cup"]), [1, 2]),
        (Segment.Request(class_names=["cup", "box"], track_ids=[3, 2]), [2, 3]),
        (Segment.Request(track_ids=[9]), []),
        (Segment.Request(region=region(0, 0, 640, 0)), [1, 2, 3]),  # without height it is no region
        (Segment.Request(region=region(0, 0, 0, 480)), [1, 2, 3]),
        (Segment.Request(region=region(5, 10, 1, 1)), [1]),  # first row and column are inside
        (Segment.Request(region=region(0, 0, 5, 11)), []),  # the end is outside
        (Segment.Request(region=region(0, 0, 6, 10)), []),
        (Segment.Request(region=region(5, 50, 41, 1)), [3]),
        (Segment.Request(region=region(6, 0, 40, 480)), [2]),
        (Segment.Request(region=region(0, 11, 50, 480)), [3]),
        (Segment.Request(points=[Point(x=3.0, y=4.0)]), [1]),
        (Segment.Request(points=[Point(x=3.4, y=3.6)]), [1]),  # the pixel around the point
        (Segment.Request(points=[Point(x=2.0, y=4.0)]), []),  # in its region, not in its mask
        (Segment.Request(points=[Point(x=-3.0, y=4.0), Point(x=1e30, y=math.nan)]), []),
        (Segment.Request(points=[Point(x=9.0, y=9.0), Point(x=45.0, y=0.0)]), [2]),
        (Segment.Request(text="the CUP"), [1, 2]),
        (Segment.Request(text="box cup", track_ids=[3]), [3]),
        (Segment.Request(text="spoon"), []),
    ],
)
def test_a_call_gets_the_instances_that_pass_all_its_filters(request_: Segment.Request, ids: list[int]) -> None:
    answer = InstanceArray(status_text="kept", instances=INSTANCES)

    chosen = selected(answer, request_)

    assert [instance.track_id for instance in chosen.instances] == ids
    assert chosen.status_text == "kept"
    assert len(answer.instances) == 3  # which other calls get, too
