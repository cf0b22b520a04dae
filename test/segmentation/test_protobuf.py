"""Fields of protobuf messages, as the different writers of ONNX files write them."""

from __future__ import annotations

import pytest

from instance_seg_ros.segmentation.protobuf import Value, integers


@pytest.mark.parametrize(
    ("value", "numbers"),
    [(5, [5]), (memoryview(b"\x03\xac\x02"), [3, 300]), (memoryview(b""), [])],
    ids=["one", "packed", "packed, none"],
)
def test_numbers_of_a_repeated_field_are_read_alone_and_packed(value: Value, numbers: list[int]) -> None:
    assert integers(value) == numbers


def test_packed_numbers_that_were_cut_short_are_refused() -> None:
    with pytest.raises(ValueError, match="does not end"):
        integers(memoryview(b"\x03\xac"))
