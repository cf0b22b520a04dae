"""Messages are made without their constructors, and are the same."""

from __future__ import annotations

import array

import numpy as np
import pytest

from instance_seg_ros.ros import convert
from instance_seg_ros.ros.convert import make_message, message_class


@pytest.mark.parametrize(
    ("type_name", "fields"),
    [
        ("geometry_msgs/msg/Point", {"x": 1.0, "y": 2.0, "z": 3.0}),
        ("instance_seg_ros/msg/StageTime", {"name": "lift", "duration_s": 0.5}),
        ("sensor_msgs/msg/RegionOfInterest", dict.fromkeys(("x_offset", "y_offset", "height", "width"), 3)),
    ],
)
def test_a_message_is_what_its_constructor_makes_of_all_its_fields(type_name: str, fields: dict) -> None:
    kind = message_class(type_name)
    whole = {name: fields.get(name, False) for name in kind.get_fields_and_field_types()}
    assert make_message(type_name, **whole) == kind(**whole)


def test_bytes_of_an_image_become_the_array_that_the_message_holds() -> None:
    kind = message_class("sensor_msgs/msg/Image")
    others = {name: getattr(kind(), name) for name in kind.get_fields_and_field_types() if name != "data"}
    made = make_message("sensor_msgs/msg/Image", **others, data=np.array([[1, 2], [3, 255]], np.uint8))
    assert made.data == array.array("B", [1, 2, 3, 255])


def test_arrays_are_lists_to_messages_that_check_what_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_checks_fields", lambda kind: True)
    made = make_message(
        "instance_seg_ros/msg/Shape",
        vertices=[],
        triangles=np.array([0, 1, 2], np.uint16),
        measured=np.array([True, False, True]),
    )
    assert (made.triangles.tolist(), made.measured) == ([0, 1, 2], [True, False, True])


def test_a_field_that_is_none_of_the_message_is_an_error() -> None:
    with pytest.raises(AttributeError):
        make_message("geometry_msgs/msg/Point", x=1.0, y=2.0, z=3.0, w=4.0)
