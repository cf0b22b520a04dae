import pytest

from instance_seg_ros.learning.datasets.groups import groups


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), []),
        (("video_0000_000001", "video_0001_000001"), ["video", "video"]),
        (("one_mug_red", "one_mug_white", "one_box"), ["one", "one", "one"]),
        (("one_mug_red", "one_mug_white"), ["one_mug", "one_mug"]),
        (("arc2017_tote", "tote"), ["arc2017_tote", "tote"]),
        (("frame0001", "frame0002"), ["frame", "frame"]),
        (("0001", "0002"), ["", ""]),
        (("a", "ab"), ["a", "ab"]),
    ],
)
def test_names_that_begin_with_the_same_word_are_one_group(names, expected):
    assert groups(names) == expected
