from __future__ import annotations

import pytest

from instance_seg_ros.bags.storage import BagError
from instance_seg_ros.bags.topics import find_topics

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
COLOR, COLOR_INFO = "/camera/color/image_raw", "/camera/color/camera_info"
ALIGNED, ALIGNED_INFO = "/camera/aligned_depth_to_color/image_raw", "/camera/aligned_depth_to_color/camera_info"
DEPTH, DEPTH_INFO = "/camera/depth/image_rect_raw", "/camera/depth/camera_info"

REALSENSE = {COLOR: IMAGE, COLOR_INFO: INFO, ALIGNED: IMAGE, ALIGNED_INFO: INFO, DEPTH: IMAGE, DEPTH_INFO: INFO}
ZED = {
    "/zed/zed_node/rgb/image_rect_color": IMAGE,
    "/zed/zed_node/rgb/camera_info": INFO,
    "/zed/zed_node/left/image_rect_color": IMAGE,
    "/zed/zed_node/left/camera_info": INFO,
    "/zed/zed_node/depth/depth_registered": IMAGE,
    "/zed/zed_node/depth/camera_info": INFO,
    "/zed/zed_node/confidence/confidence_map": IMAGE,
}

ZED_5 = {
    **{f"/zed/zed_node/{side}/{color}/rect/image": IMAGE for side in ("rgb", "left") for color in ("color", "gray")},
    "/zed/zed_node/rgb/color/rect/image/camera_info": INFO,
    "/zed/zed_node/rgb/color/rect/camera_info": INFO,
    "/zed/zed_node/depth/depth_registered": IMAGE,
    "/zed/zed_node/depth/camera_info": INFO,
}


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        pytest.param(REALSENSE, (COLOR, COLOR_INFO, ALIGNED, ALIGNED_INFO), id="RealSense, aligned before raw depth"),
        pytest.param(
            ZED,
            (
                "/zed/zed_node/rgb/image_rect_color",
                "/zed/zed_node/rgb/camera_info",
                "/zed/zed_node/depth/depth_registered",
                "/zed/zed_node/depth/camera_info",
            ),
            id="ZED",
        ),
        pytest.param(
            ZED_5,
            (
                "/zed/zed_node/rgb/color/rect/image",
                "/zed/zed_node/rgb/color/rect/camera_info",
                "/zed/zed_node/depth/depth_registered",
                "/zed/zed_node/depth/camera_info",
            ),
            id="ZED, wrapper 5",
        ),
        pytest.param(
            {**REALSENSE, f"{COLOR}/compressed": COMPRESSED, f"{ALIGNED}/compressedDepth": COMPRESSED},
            (COLOR, COLOR_INFO, ALIGNED, ALIGNED_INFO),
            id="raw before compressed",
        ),
        pytest.param(
            {
                f"{COLOR}/compressed": COMPRESSED,
                COLOR_INFO: INFO,
                "/camera/depth/image_raw": IMAGE,
                "/odom": "x/msg/Odom",
            },
            (f"{COLOR}/compressed", COLOR_INFO, "/camera/depth/image_raw", None),
            id="compressed colour beside its camera info",
        ),
        pytest.param(
            {
                **{f"/instance_seg/color/{name}": kind for name, kind in (("image_raw", IMAGE), ("camera_info", INFO))},
                **{f"/instance_seg/depth/{name}": kind for name, kind in (("image_raw", IMAGE), ("camera_info", INFO))},
                **{f"/instance_seg/{name}": IMAGE for name in ("overlay", "label_image", "panoptic_image")},
            },
            (
                "/instance_seg/color/image_raw",
                "/instance_seg/color/camera_info",
                "/instance_seg/depth/image_raw",
                "/instance_seg/depth/camera_info",
            ),
            id="inputs of the node that nobody renamed, beside its results",
        ),
        pytest.param(
            {
                "/instance_seg/color/image_raw": IMAGE,
                "/instance_seg/color/camera_info": INFO,
                "/instance_seg/depth/image_raw": IMAGE,
                "/instance_seg/camera_info": INFO,
            },
            ("/instance_seg/color/image_raw", "/instance_seg/color/camera_info", "/instance_seg/depth/image_raw", None),
            id="the camera of the results is not that of depth",
        ),
    ],
)
def test_topics_are_found_by_type_and_name(types: dict[str, str], expected: tuple) -> None:
    topics = find_topics(types)
    assert (topics.color, topics.color_info, topics.depth, topics.depth_info) == expected


ENCODINGS = {"/cam/picture": "bgr8", "/cam/range": "16UC1", "/cam/zipped": "16UC1; compressedDepth png"}
ENCODINGS |= {"/instance_seg/panoptic_image": "mono16"}


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ({"/cam/picture": IMAGE, "/cam/range": IMAGE}, ("/cam/picture", "/cam/range")),
        ({"/cam/picture": IMAGE, "/cam/zipped": COMPRESSED}, ("/cam/picture", "/cam/zipped")),
        ({"/cam/picture": IMAGE, "/cam/range": IMAGE, "/cam/zipped": COMPRESSED}, ("/cam/picture", "/cam/range")),
        (
            {"/cam/picture": IMAGE, "/cam/range": IMAGE, "/instance_seg/panoptic_image": IMAGE},
            ("/cam/picture", "/cam/range"),
        ),
    ],
)
def test_encodings_tell_where_names_do_not(types: dict[str, str], expected: tuple[str, str]) -> None:
    topics = find_topics({**types, "/cam/camera_info": INFO}, None, lambda topic: ENCODINGS[topic])
    assert (topics.color, topics.depth) == expected


def test_the_camera_info_is_found_below_the_image_topic() -> None:
    types = {"/cam/color": IMAGE, "/cam/color/camera_info": INFO, "/cam/depth": IMAGE, "/cam/depth/camera_info": INFO}
    topics = find_topics(types)
    assert (topics.color_info, topics.depth_info) == ("/cam/color/camera_info", "/cam/depth/camera_info")


def test_topics_that_are_given_win() -> None:
    topics = find_topics(REALSENSE, {"depth": DEPTH, "color": None})
    assert (topics.color, topics.depth, topics.depth_info) == (COLOR, DEPTH, DEPTH_INFO)


@pytest.mark.parametrize(
    ("types", "overrides", "cause"),
    [
        ({"/imu": "sensor_msgs/msg/Imu"}, {}, r"found no colour image; name it with --color-topic; the bag has /imu"),
        ({}, {}, "^the bag has no topics: nothing was recorded"),
        ({COLOR: IMAGE, COLOR_INFO: INFO}, {}, "found no depth image; name it with --depth-topic"),
        ({COLOR: IMAGE, DEPTH: IMAGE, DEPTH_INFO: INFO}, {}, f"found no CameraInfo of {COLOR}; name it with"),
        ({**REALSENSE, "/other/color/image_raw": IMAGE}, {}, "several topics may be the colour image .*/other/color"),
        (REALSENSE, {"color": "/nowhere"}, "/nowhere, given for color, is not in the bag; the bag has /camera"),
        (REALSENSE, {"depth": DEPTH_INFO}, "given for depth, has the type sensor_msgs/msg/CameraInfo"),
    ],
)  # fmt: skip
def test_topics_that_cannot_be_found_are_an_error_with_the_list(
    types: dict[str, str], overrides: dict[str, str], cause: str
) -> None:
    with pytest.raises(BagError, match=cause):
        find_topics(types, overrides)
