"""From the messages of four topics to one validated RGB-D frame: matched by stamp, decoded, depth registered to colour.

The messages have the fields of sensor_msgs, whatever library they are of: rclpy in the node, `rosbags` without ROS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.core.camera import Intrinsics, RgbdFrame
from instance_seg_ros.core.depth import check_depth_size, register_depth
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import image_codec
from instance_seg_ros.messages.image_files import MAX_PIXELS, check_size
from instance_seg_ros.messages.lens import View, camera_of_rectified, is_correctable, is_distorted, view_of
from instance_seg_ros.messages.pairing import NS_PER_S, FramePairer, Pair
from instance_seg_ros.messages.registration import Registration

Header = Any
Image = Any
"""A sensor_msgs Image or CompressedImage."""
CameraInfo = Any
Result = TypeVar("Result")
INFOS_KEPT = 30
_NEAR_NS = NS_PER_S
"""A CameraInfo that comes with the images is no farther from each of them in time."""
_SAME_PIXEL_PX = 1.0
MAX_FRAME_ID = 255
PoseOfDepthCamera = Callable[[str, str, int], Transform]
"""`T_color_depth` from the frame ids of colour and depth and the stamp in nanoseconds; else raises ValueError."""


def stamp_ns_of(header: Header) -> int:
    """Nanoseconds of a header's stamp."""
    return time_ns_of(header.stamp)


def time_ns_of(time: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def color_of(message: Image, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB; may be a read-only view of the message.

    Raises:
        ValueError: for an unknown encoding, data that do not fit the message's own fields, or too large an image.
    """
    if _is_compressed(message):
        return image_codec.decode_compressed_color(message.format, _bytes_of(message.data), max_pixels)
    check_size(message.width, message.height, "the image", max_pixels)
    return image_codec.decode_color(*_fields(message))


def depth_m_of(message: Image, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """(H, W) float32 metres, 0 = no measurement.

    Raises:
        ValueError: as `color_of`.
    """
    if _is_compressed(message):
        return image_codec.decode_compressed_depth(message.format, _bytes_of(message.data), max_pixels)
    check_size(message.width, message.height, "the image", max_pixels)
    return image_codec.decode_depth_image(*_fields(message))


def transform_of(message: Any) -> Transform:
    """A geometry_msgs/Transform.

    Raises:
        ValueError: for a quaternion of zeros, as in a message that was never filled.
    """
    rotation, translation = message.rotation, message.translation
    return Transform.from_quaternion(
        (rotation.x, rotation.y, rotation.z, rotation.w), (translation.x, translation.y, translation.z)
    )


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


@dataclass(frozen=True)
class Distortion:
    """What becomes of the lens distortion of a frame's images, in words such as "colour (plumb_bob)"; empty for none.

    Attributes:
        corrected: what is taken out here.
        left: what is of an unknown kind and stays.
    """

    corrected: str
    left: str

    def fault(self, color_topic: str, cure: str) -> str:
        """What makes positions wrong, with the cure; empty for nothing.

        Args:
            color_topic: whose name may say that its images are rectified already.
            cure: the setting for images that are.
        """
        if self.left:
            return (
                f"the lens distortion of {self.left} is of a kind that is not known here and stays, so that positions "
                f"near the image's border are off: take the rectified images (image_proc), with {cure}"
            )
        if self.corrected.startswith("colour") and "rect" in color_topic.rpartition("/")[2]:
            return (
                f"by its name {color_topic} is rectified already, but its CameraInfo has distortion coefficients, and "
                f"their distortion is taken out (once more?): for rectified images, give {cure}"
            )
        return ""


def distortion_of(messages: RgbdMessages) -> Distortion:
    """What the CameraInfos say about lens distortion.

    That of depth is asked only where it describes the depth image: drivers that register depth to colour may publish
    the CameraInfo of the unregistered depth camera beside it.
    """
    color, depth = messages.color_info, messages.depth_info
    of_depth = depth is not None and depth.header.frame_id == messages.depth.header.frame_id
    distorted = {
        f"{name} ({info.distortion_model or 'no model'})": info
        for name, info in (("colour", color), ("depth", depth if of_depth else None))
        if info is not None and is_distorted(info)
    }
    return Distortion(
        " and ".join(text for text, info in distorted.items() if is_correctable(info)),
        " and ".join(text for text, info in distorted.items() if not is_correctable(info)),
    )


class CameraInfos:
    """The latest CameraInfo messages of both cameras, as they came: one that comes once serves all images after it.

    Attributes:
        color: of the colour images, oldest first.
        depth: of the depth images.
    """

    def __init__(self) -> None:
        self.color: deque[CameraInfo] = deque()
        self.depth: deque[CameraInfo] = deque()


def latest_of_each(infos: Iterable[CameraInfo]) -> list[CameraInfo]:
    """The last CameraInfo of each frame_id, in the order in which these came, of those that are there now."""
    latest: dict[str, CameraInfo] = {}
    for info in tuple(infos):  # `~/record` asks in a thread of its own, while others come
        latest.pop(info.header.frame_id, None)
        latest[info.header.frame_id] = info
    return list(latest.values())


def _keep(infos: deque[CameraInfo], info: CameraInfo) -> None:
    """Takes one and lets go of the oldest beyond `INFOS_KEPT`, but of the last one of a frame_id only where all are
    that: another camera on the topic, which publishes it with each image, leaves what this one published once."""
    infos.append(info)
    if len(infos) > INFOS_KEPT:
        last = {id(each) for each in latest_of_each(infos)}
        del infos[next((at for at, each in enumerate(infos) if id(each) not in last), 0)]


class MessageMatcher:
    """Matches images by stamp (see `FramePairer`) and gives each pair its camera infos.

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
        _keep(self.infos.color, info)

    def add_depth_info(self, info: CameraInfo) -> None:
        """Takes the CameraInfo of the depth images."""
        _keep(self.infos.depth, info)

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
            self._info_of(pair.color.item, self.infos.color),
            self._info_of(pair.depth.item, self.infos.depth),
        )

    def _info_of(self, image: Image, infos: deque[CameraInfo]) -> CameraInfo | None:
        """The CameraInfo of the image's frame_id, of any where there is none, that is nearest in time, the latest of
        equals: a camera may be recalibrated, a replay may loop.

        Where none is near, they come once, or have no stamps, and the latest to come holds.
        """
        own = [info for info in infos if info.header.frame_id == image.header.frame_id] or list(infos)
        if not own:
            return None
        stamp_ns = stamp_ns_of(image.header)
        off_ns, back = min((abs(stamp_ns_of(info.header) - stamp_ns), back) for back, info in enumerate(reversed(own)))
        info = own[-1 - back] if off_ns <= _NEAR_NS else own[-1]
        return camera_of_rectified(info) if self._rectified else info


def frame_of(
    messages: RgbdMessages,
    pose_of_depth_camera: PoseOfDepthCamera,
    T_color_depth: Transform | None = None,
    registration: Registration | None = None,
    max_pixels: int = MAX_PIXELS,
) -> RgbdFrame:
    """The frame of one moment, without lens distortion, depth registered to colour where it is not yet.

    Depth counts as registered when it has colour's frame_id and size, unless its own CameraInfo says that it has other
    pixels, or the depth camera's pose is given.

    Args:
        pose_of_depth_camera: asked for depth that is not registered, unless the pose is given.
        T_color_depth: the depth camera's pose, for depth that is not registered, whatever its frame_id says.
        registration: of the frames before this one; it says how depth was registered, and may find that it was already.
        max_pixels: larger images are refused before anything is allocated for them.

    Raises:
        ValueError: naming the topic's part and the cause, for messages that cannot be used.
    """
    for what, header in (("colour image", messages.color.header), ("depth image", messages.depth.header)):
        if len(header.frame_id) > MAX_FRAME_ID:
            raise ValueError(f"{what}: its frame_id has {len(header.frame_id)} characters, more than {MAX_FRAME_ID}")
        if header.stamp.nanosec >= NS_PER_S:
            raise ValueError(f"{what}: a stamp cannot have {header.stamp.nanosec} nanoseconds in its second")
    color_rgb = _named("colour image", lambda image: color_of(image, max_pixels), messages.color)
    depth_m = _named("depth image", lambda image: depth_m_of(image, max_pixels), messages.depth)
    if messages.color_info is None:
        raise ValueError("no CameraInfo of the colour camera has arrived; it is needed for everything in 3D")
    view = _named("colour camera_info", view_of, messages.color_info)
    intrinsics = view.camera
    height, width = color_rgb.shape[:2]
    if (intrinsics.width, intrinsics.height) != (width, height):
        raise ValueError(
            f"the colour image is {width}x{height} but its CameraInfo says {intrinsics.width}x{intrinsics.height}; "
            "they must come from the same stream"
        )
    color_rgb = view.color(color_rgb)
    color_frame, depth_frame = messages.color.header.frame_id, messages.depth.header.frame_id
    registration = Registration() if registration is None else registration
    pose_is_given = T_color_depth is not None
    if depth_m.shape == (height, width) and depth_frame == color_frame and not pose_is_given:
        depth_view = _own_view_of_depth(messages, view)
        if _sees_the_same_pixels(depth_view.camera, intrinsics):
            depth_m = depth_view.depth(depth_m)
            registration.take_registered(color_rgb, depth_m)
            return RgbdFrame(color_rgb, depth_m, intrinsics, messages.stamp_ns, color_frame)
    try:
        if messages.depth_info is None:
            raise ValueError("no CameraInfo of the depth camera has arrived")
        depth_view = _named("depth camera_info", view_of, messages.depth_info)
        if T_color_depth is None:
            T_color_depth = pose_of_depth_camera(color_frame, depth_frame, messages.stamp_ns)
        check_depth_size(depth_m, depth_view.camera)
        registered_m = register_depth(depth_view.depth(depth_m), depth_view.camera, intrinsics, T_color_depth)
    except ValueError as error:
        raise ValueError(
            f"depth is {depth_m.shape[1]}x{depth_m.shape[0]} in frame {depth_frame!r}, "
            f"colour {width}x{height} in frame {color_frame!r}, and depth cannot be registered to colour here: "
            f"{error}; or let the camera's driver align depth to colour"
        ) from error
    # Depth that the driver aligned has the pixels of colour as it came, distortion included.
    came_m = view.depth(depth_m) if depth_m.shape == (height, width) else depth_m
    frames = color_frame, depth_frame
    chosen_m = registration.choose(color_rgb, came_m, registered_m, frames, T_color_depth, pose_is_given)
    return RgbdFrame(color_rgb, chosen_m, intrinsics, messages.stamp_ns, color_frame)


def _own_view_of_depth(messages: RgbdMessages, color_view: View) -> View:
    """Of depth with colour's frame and size: what its own CameraInfo says, or else that of colour.

    Cameras that are rendered or cropped may have one of other pixels, with one frame_id for both images.
    """
    info = messages.depth_info
    if info is None or info.header.frame_id != messages.color.header.frame_id or not info.k[0] > 0:
        return color_view  # it describes another image, or was never filled in
    depth_view = _named("depth camera_info", view_of, info)
    depth_camera, color_camera = depth_view.camera, color_view.camera
    same_size = (depth_camera.width, depth_camera.height) == (color_camera.width, color_camera.height)
    return depth_view if same_size else color_view


def _sees_the_same_pixels(depth_camera: Intrinsics, color_camera: Intrinsics) -> bool:
    """Whether two cameras in one place see a point in the same pixel, all over the image."""
    corners_px = np.array([[0.0, 0.0], (color_camera.width, color_camera.height)])
    focal, centre = np.split(color_camera.fx_fy_cx_cy, 2)
    depth_focal, depth_centre = np.split(depth_camera.fx_fy_cx_cy, 2)
    seen_px = (corners_px - depth_centre) / depth_focal * focal + centre
    return bool(np.abs(seen_px - corners_px).max() <= _SAME_PIXEL_PX)


def _is_compressed(message: Image) -> bool:
    return hasattr(message, "format")  # a field of CompressedImage that Image lacks


def _fields(message: Image) -> tuple[int, int, str, bool, int, Any]:
    big_endian = bool(message.is_bigendian)
    return message.height, message.width, message.encoding, big_endian, message.step, _bytes_of(message.data)


def _bytes_of(data: Any) -> Any:
    """A buffer of a `uint8[]` field. From ROS 2 Lyrical on it may be a rosidl_buffer.Buffer, which is none: its bytes
    lie where its backend keeps them, such as on a GPU, and are copied from there."""
    return data.to_bytes() if hasattr(data, "to_bytes") else data


def _named(what: str, convert: Callable[[Any], Result], message: Any) -> Result:
    try:
        return convert(message)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
