import threading
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.demo.camera_node import frames_of, made_ahead, parse, repeated
from instance_seg_ros.files.captures import write_capture


def frames(count, made=None):
    for index in range(count):
        if made is not None:
            made[index].set()
        yield RgbdFrame(None, np.ones((4, 6), np.float32), Intrinsics(6, 4, 5.0, 5.0, 2.5, 1.5), stamp_ns=index)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_frames_made_ahead_are_the_same_in_the_same_order(count):
    assert [frame.stamp_ns for frame in made_ahead(frames(count))] == list(range(count))


def test_the_next_frame_is_made_while_one_is_in_use():
    made = [threading.Event() for _ in range(3)]
    ahead = made_ahead(frames(3, made))
    assert next(ahead).stamp_ns == 0
    assert made[1].wait(timeout=10)
    assert not made[2].is_set()


def test_an_error_comes_in_place_of_the_frame_that_could_not_be_made():
    def failing():
        yield from frames(1)
        raise ValueError("the second cannot be read")

    ahead = made_ahead(failing())
    assert next(ahead).stamp_ns == 0
    with pytest.raises(ValueError, match="the second cannot be read"):
        next(ahead)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_a_rate_that_is_none_is_refused(rate, capsys):
    with pytest.raises(SystemExit):
        parse([f"--rate={rate}"])
    assert "--rate: must be above 0" in capsys.readouterr().err


def test_what_is_repeated_begins_anew_at_its_end_and_nothing_is_not_repeated():
    assert [frame.stamp_ns for frame in islice(repeated(lambda: frames(2)), 5)] == [0, 1, 0, 1, 0]
    assert list(repeated(lambda: frames(0))) == []


@pytest.mark.parametrize(("options", "count"), [([], 2), (["--repeat", "--count", "5"], 5)])
def test_captures_end_unless_they_are_repeated(tmp_path, options, count):
    for index, frame in enumerate(frames(2)):
        write_capture(tmp_path / str(index), frame)
    assert len(list(frames_of(parse(["--frames-dir", str(tmp_path), *options])))) == count
