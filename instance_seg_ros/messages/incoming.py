"""From the messages of four topics to one validated RGB-D frame: matched by stamp, decoded, depth registered to colour.

The messages have the fields of sensor_msgs, whatever library they are of: rclpy in the node, `rosbags` without ROS.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame, intrinsics_from_matrix
from instance_seg_ros.core.depth import register_depth
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import image_codec
from instance_seg_ros.messages.image_files import check_size
from instance_seg_ros.messages.pairing import NS_PER_S, FramePairer, Pair
from instance_seg_ros.messages.registration import Registration

Header = Any
Image = Any
"""A sensor_msgs Image or CompressedImage."""
CameraInfo = Any
Result = TypeVar("Result")
INFOS_KEPT = 30
_SAME_PIXEL_PX = 1.0
MAX_FRAME_ID = 255
_FIELD_OF_VIEW_DEG = (1.0, 170.0)
"""Of what a pinhole camera may have: a focal length outside belongs to another unit, size or camera."""

PoseOfDepthCamera = Callable[[str, str, int], Transform]
"""`T_color_depth` from the frame ids of colour and depth and the stamp in nanoseconds; else raises ValueError."""


def stamp_ns_of(header: Header) -> int:
    """Nanoseconds of a header's stamp."""
    return int(header.stamp.sec) * NS_PER_S + int(header.stamp.nanosec)


def color_of(message: Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB; may be a read-only view of the message.

    Raises:
        ValueError: for an unknown encoding, data that do not fit the message's own fields, or too large an image.
    """
    if _is_compressed(message):
        return image_codec.decode_compressed_color(message.format, message.data)
    check_size(message.width, message.height, "the image")
    return image_codec.decode_color(*_fields(message))


def depth_m_of(message: Image) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 = no measurement.

    Raises:
        ValueError: as `color_of`.
    """
    if _is_compressed(message):
        return image_codec.decode_compressed_depth(message.format, message.data)
    check_size(message.width, message.height, "the image")
    return image_codec.decode_depth_image(*_fields(message))


def intrinsics_of(info: CameraInfo) -> Intrinsics:
    """The pinhole camera of the images that this CameraInfo describes: K, then region of interest, then binning.

    Raises:
        ValueError: for a K of zeros or another camera that cannot be.
    """
    full = intrinsics_from_matrix(info.k, info.width, info.height)
    for focal_px, size_px, side in ((full.fx, full.width, "wide"), (full.fy, full.height, "high")):
        field_of_view_deg = math.degrees(2 * math.atan(size_px / 2 / focal_px))
        if not _FIELD_OF_VIEW_DEG[0] <= field_of_view_deg <= _FIELD_OF_VIEW_DEG[1]:
            raise ValueError(
                f"a focal length of {focal_px:g} px in an image {size_px} px {side} is a field of view of "
                f"{field_of_view_deg:.3g} degrees, which no pinhole camera has; is K that of this stream, in pixels?"
            )
    roi = info.roi
    width, height = (roi.width, roi.height) if roi.width and roi.height else (info.width, info.height)
    cropped = Intrinsics(width, height, full.fx, full.fy, full.cx - roi.x_offset, full.cy - roi.y_offset)
    # 0 stands for 1 in a CameraInfo.
    binning_x, binning_y = max(1, info.binning_x), max(1, info.binning_y)
    return cropped.resized(width // binning_x, height // binning_y)


def transform_of(message: Any) -> Transform:
    """A geometry_msgs/Transform.

    Raises:
        ValueError: for a quaternion of zeros, as in a message that was never filled.
    """
    rotation, translation = message.rotation, message.translation
    return Transform.from_quaternion(
        (rotation.x, rotation.y, rotation.z, rotation.w), (translation.x, translation.y, translation.z)
    )


def is_distorted(info: CameraInfo) -> bool:
    """Whether the images still carry lens distortion, which a pinhole camera cannot express."""
    return any(coefficient != 0 for coefficient in info.d)


def camera_of_rectified(info: CameraInfo) -> CameraInfo:
    """The CameraInfo of the rectified images of a camera: K is that of P, and no distortion is left.

    image_proc publishes the raw camera's CameraInfo with its rectified images, whose pinhole camera is P.
    """
    rectified = copy.copy(info)
    rectified.k = np.asarray(info.p, dtype=np.float64).reshape(3, 4)[:, :3].reshape(9)
    rectified.d = []
    return rectified


@dataclass(frozen=True)
class RgbdMessages:
    """The messages of one moment. `color_info` and `depth_info` are None when none has arrived at all."""

    color: Image
    depth: Image
    color_info: CameraInfo | None
    depth_info: CameraInfo | None

    @property
    def stamp_ns(self) -> int:
        """Time of the colour image, nanoseconds."""
        return stamp_ns_of(self.color.header)


def distorted_images(messages: RgbdMessages) -> list[str]:
    """Which of the images, "colour" and "depth", still carry lens distortion.

    Depth is judged only where its CameraInfo describes the depth image: drivers that register depth to colour may
    publish the CameraInfo of the unregistered depth camera beside it.
    """
    color, depth = messages.color_info, messages.depth_info
    of_depth = depth is not None and depth.header.frame_id == messages.depth.header.frame_id
    infos = {"colour": color, "depth": depth if of_depth else None}
    return [name for name, info in infos.items() if info is not None and is_distorted(info)]


class CameraInfos:
    """The latest CameraInfo messages of both cameras, as they came: one that comes once serves all images after it.

    Attributes:
        color: of the colour images, oldest first.
        depth: of the depth images.
    """

    def __init__(self) -> None:
        self.color: deque[CameraInfo] = deque(maxlen=INFOS_KEPT)
        self.depth: deque[CameraInfo] = deque(maxlen=INFOS_KEPT)


class MessageMatcher:
    """Matches images by stamp (see `FramePairer`) and gives each pair the camera infos nearest to it in time.

    Not thread safe: use it from one callback group.

    Attributes:
        pairer: pairs the images; its counters tell how well.
        infos: what is known of the cameras.

    Args:
        tolerance_s: largest difference of two stamps that make a pair.
        rectified: the images are rectified, see `camera_of_rectified`.
        infos: what another matcher learned of the same cameras before.
    """

    def __init__(self, tolerance_s: float, rectified: bool = False, infos: CameraInfos | None = None) -> None:
        self._rectified = rectified
        self.pairer: FramePairer[Image, Image] = FramePairer(tolerance_s)
        self.infos = CameraInfos() if infos is None else infos

    def add_color_info(self, info: CameraInfo) -> None:
        """Takes the CameraInfo of the colour images."""
        self.infos.color.append(info)

    def add_depth_info(self, info: CameraInfo) -> None:
        """Takes the CameraInfo of the depth images."""
        self.infos.depth.append(info)

    def add_color(self, image: Image) -> RgbdMessages | None:
        """Takes a colour image; the set that it completes, if any."""
        return self._matched(self.pairer.add_color(stamp_ns_of(image.header), image))

    def add_depth(self, image: Image) -> RgbdMessages | None:
        """Takes a depth image; the set that it completes, if any."""
        return self._matched(self.pairer.add_depth(stamp_ns_of(image.header), image))

    def _matched(self, pair: Pair[Image, Image] | None) -> RgbdMessages | None:
        if pair is None:
            return None
        return RgbdMessages(
            pair.color.item,
            pair.depth.item,
            self._nearest(self.infos.color, pair.color.stamp_ns),
            self._nearest(self.infos.depth, pair.depth.stamp_ns),
        )

    def _nearest(self, infos: deque[CameraInfo], stamp_ns: int) -> CameraInfo | None:
        """The CameraInfo nearest in time, the latest of equals: a camera may be recalibrated, a replay may loop."""
        info = min(reversed(infos), key=lambda info: abs(stamp_ns_of(info.header) - stamp_ns), default=None)
        return camera_of_rectified(info) if self._rectified and info is not None else info


def frame_of(
    messages: RgbdMessages,
    pose_of_depth_camera: PoseOfDepthCamera,
    T_color_depth: Transform | None = None,
    registration: Registration | None = None,
) -> RgbdFrame:
    """The frame of one moment, depth registered to colour where it is not yet.

    Depth counts as registered when it has colour's frame_id and size, unless its own CameraInfo says that it has other
    pixels, or the depth camera's pose is given.

    Args:
        pose_of_depth_camera: asked for depth that is not registered, unless the pose is given.
        T_color_depth: the depth camera's pose, for depth that is not registered, whatever its frame_id says.
        registration: of the frames before this one; it says how depth was registered, and may find that it was already.

    Raises:
        ValueError: naming the topic's part and the cause, for messages that cannot be used.
    """
    for what, header in (("colour image", messages.color.header), ("depth image", messages.depth.header)):
        if len(header.frame_id) > MAX_FRAME_ID:
            raise ValueError(f"{what}: its frame_id has {len(header.frame_id)} characters, more than {MAX_FRAME_ID}")
        if header.stamp.nanosec >= NS_PER_S:
            raise ValueError(f"{what}: a stamp cannot have {header.stamp.nanosec} nanoseconds in its second")
    color_rgb = _named("colour image", color_of, messages.color)
    depth_m = _named("depth image", depth_m_of, messages.depth)
    if messages.color_info is None:
        raise ValueError("no CameraInfo of the colour camera has arrived; it is needed for everything in 3D")
    intrinsics = _named("colour camera_info", intrinsics_of, messages.color_info)
    height, width = color_rgb.shape[:2]
    if (intrinsics.width, intrinsics.height) != (width, height):
        raise ValueError(
            f"the colour image is {width}x{height} but its CameraInfo says {intrinsics.width}x{intrinsics.height}; "
            "they must come from the same stream"
        )
    color_frame, depth_frame = messages.color.header.frame_id, messages.depth.header.frame_id
    registration = Registration() if registration is None else registration
    pose_is_given = T_color_depth is not None
    same_camera = depth_m.shape == (height, width) and depth_frame == color_frame and not pose_is_given
    if same_camera and not _sees_other_pixels(messages, intrinsics):
        registration.take_registered(color_rgb, depth_m)
        return RgbdFrame(color_rgb, depth_m, intrinsics, messages.stamp_ns, color_frame)
    try:
        if messages.depth_info is None:
            raise ValueError("no CameraInfo of the depth camera has arrived")
        depth_intrinsics = _named("depth camera_info", intrinsics_of, messages.depth_info)
        if T_color_depth is None:
            T_color_depth = pose_of_depth_camera(color_frame, depth_frame, messages.stamp_ns)
        registered_m = register_depth(depth_m, depth_intrinsics, intrinsics, T_color_depth)
    except ValueError as error:
        raise ValueError(
            f"depth is {depth_m.shape[1]}x{depth_m.shape[0]} in frame {depth_frame!r}, "
            f"colour {width}x{height} in frame {color_frame!r}, and depth cannot be registered to colour here: "
            f"{error}; or let the camera's driver align depth to colour"
        ) from error
    frames = color_frame, depth_frame
    chosen_m = registration.choose(color_rgb, depth_m, registered_m, frames, T_color_depth, pose_is_given)
    return RgbdFrame(color_rgb, chosen_m, intrinsics, messages.stamp_ns, color_frame)


def _sees_other_pixels(messages: RgbdMessages, color_intrinsics: Intrinsics) -> bool:
    """Whether depth has a CameraInfo of colour's frame and size that nevertheless places points in other pixels.

    Cameras that are rendered or cropped may have one, with one frame_id for both images.
    """
    info = messages.depth_info
    size_wh = (color_intrinsics.width, color_intrinsics.height)
    if info is None or info.header.frame_id != messages.color.header.frame_id or not info.k[0] > 0:
        return False  # it describes another image, or was never filled in
    depth_intrinsics = _named("depth camera_info", intrinsics_of, info)
    if (depth_intrinsics.width, depth_intrinsics.height) != size_wh:
        return False
    corners_px = np.array([[0.0, 0.0], size_wh])
    focal, centre = np.split(color_intrinsics.fx_fy_cx_cy, 2)
    depth_focal, depth_centre = np.split(depth_intrinsics.fx_fy_cx_cy, 2)
    seen_px = (corners_px - depth_centre) / depth_focal * focal + centre
    return bool(np.abs(seen_px - corners_px).max() > _SAME_PIXEL_PX)


def _is_compressed(message: Image) -> bool:
    return hasattr(message, "format")  # a field of CompressedImage that Image lacks


def _fields(message: Image) -> tuple[int, int, str, bool, int, Any]:
    return message.height, message.width, message.encoding, bool(message.is_bigendian), message.step, message.data


def _named(what: str, convert: Callable[[Any], Result], message: Any) -> Result:
    try:
        return convert(message)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
