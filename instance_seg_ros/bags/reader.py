"""RGB-D frames from a recording: paired by stamp, depth registered to colour; what makes no frame is counted."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from instance_seg_ros.bags.names import TF_MESSAGE, TF_STATIC_TOPIC
from instance_seg_ros.bags.storage import Bag, RecordedMessage, opened_bag
from instance_seg_ros.bags.topics import BagTopics, find_topics
from instance_seg_ros.bags.transforms import FrameTree
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import MessageMatcher, RgbdMessages, frame_of, is_distorted
from instance_seg_ros.messages.types import load_typestore

DEFAULT_TOLERANCE_S = 0.025
"""Below half of the period of a camera of 15 frames a second."""


@dataclass
class InputCounts:
    """What was read of a bag.

    Attributes:
        colors, depths: number of images.
        lost: number of colour images without a frame, by cause.
        warnings: what may make the results worse.
    """

    colors: int = 0
    depths: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


def read_frames(
    source: Path, topic_overrides: Mapping[str, str | None] | None = None, tolerance_s: float = DEFAULT_TOLERANCE_S
) -> Iterator[RgbdFrame]:
    """The frames of a bag, in order: paired by stamp, depth registered to colour. What makes no frame is passed over.

    Raises:
        BagError: when the bag cannot be read or has no such camera.
    """
    with opened_bag(source) as bag:
        topics = find_topics(bag.types, topic_overrides)
        for _, frame in FrameReader(bag, load_typestore(), topics, tolerance_s, InputCounts()).read():
            yield frame


class FrameReader:
    """Reads the frames of an open bag.

    Args:
        tolerance_s: largest difference of the stamps of a colour and a depth image that make a frame.
        counts: counted up while reading.
        T_color_depth: pose of the depth camera in the colour camera's frame, for depth that is not registered; None
            takes it from /tf_static.
        rectified: the images are rectified, see `messages.incoming.camera_of_rectified`.
    """

    def __init__(
        self,
        bag: Bag,
        typestore: Typestore,
        topics: BagTopics,
        tolerance_s: float,
        counts: InputCounts,
        T_color_depth: Transform | None = None,
        rectified: bool = False,
    ) -> None:
        self._bag = bag
        self._typestore = typestore
        self._topics = topics
        self._tolerance_s = tolerance_s
        self._counts = counts
        counts.warnings += bag.warnings
        self._T_color_depth = T_color_depth
        self._rectified = rectified
        self._matcher = MessageMatcher(tolerance_s, rectified)
        self._static_tf = FrameTree()

    def read(
        self,
        listener: Callable[[RecordedMessage], None] = lambda message: None,
        progress: Callable[[int, int], None] = lambda read, total: None,
    ) -> Iterator[tuple[int, RgbdFrame]]:
        """(time in the bag in nanoseconds, frame) of each frame.

        Args:
            listener: called with every message of the camera's topics and /tf_static.
            progress: called with the number of messages read and in total.

        Raises:
            BagError: when the bag cannot be read to its end.
        """
        wanted = {*self._topics.names(), TF_STATIC_TOPIC}
        total = self._bag.count(wanted)
        # Camera infos and static transforms may be recorded after the first image; they hold for the whole bag.
        self._take_static_transforms()
        self._take_first_infos()
        for read, message in enumerate(self._bag.messages(wanted)):
            progress(read, total)
            listener(message)
            frame = self._take(message)
            if frame is not None:
                yield message.time_ns, frame
        progress(total, total)
        self._matcher.pairer.flush()
        if self._matcher.pairer.unpaired_colors:
            cause = f"no depth image within {self._tolerance_s * 1000:g} ms"
            self._counts.lost[cause] += self._matcher.pairer.unpaired_colors

    def _take(self, message: RecordedMessage) -> RgbdFrame | None:
        try:
            matched = self._add(message.connection.topic, self._deserialize(message))
            return None if matched is None else frame_of(matched, self._depth_pose, self._T_color_depth)
        except ValueError as error:
            self._counts.lost[str(error)] += 1
            return None

    def _deserialize(self, message: RecordedMessage) -> Any:
        try:
            return self._typestore.deserialize_cdr(message.raw, message.connection.msgtype)
        except (SerdeError, struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"a message on {message.connection.topic} cannot be read: {error}") from error

    def _add(self, topic: str, message: Any) -> RgbdMessages | None:
        if topic == self._topics.color:
            self._counts.colors += 1
            return self._matcher.add_color(message)
        if topic == self._topics.depth:
            self._counts.depths += 1
            return self._matcher.add_depth(message)
        self._add_info(topic, message)
        return None

    def _add_info(self, topic: str, message: Any) -> None:
        if topic == self._topics.color_info:
            self._matcher.add_color_info(message)
        if topic == self._topics.depth_info:
            self._matcher.add_depth_info(message)

    def _depth_pose(self, color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
        T_color_depth = self._static_tf.lookup(color_frame, depth_frame)
        if T_color_depth is None:
            raise ValueError(
                f"{TF_STATIC_TOPIC} does not connect {depth_frame!r} to {color_frame!r}; record it, or give "
                "--depth-camera-pose"
            )
        return T_color_depth

    def _take_first_infos(self) -> None:
        info_topics = {topic for topic in (self._topics.color_info, self._topics.depth_info) if topic is not None}
        for topic in info_topics:
            first = next(self._bag.messages({topic}), None)
            if first is not None:
                try:
                    info = self._deserialize(first)
                except ValueError:  # counted when it is read in its turn
                    continue
                self._add_info(topic, info)
                if topic == self._topics.color_info and is_distorted(info) and not self._rectified:
                    self._counts.warnings.append(
                        "the CameraInfo has distortion coefficients, which are not corrected: positions near the "
                        "border are off; record the rectified images and give --rectified"
                    )

    def _take_static_transforms(self) -> None:
        """Remembers them; a message or a transform that cannot be used is warned of: no frame may need it."""
        if self._bag.types.get(TF_STATIC_TOPIC) != TF_MESSAGE:
            return
        for recorded in self._bag.messages({TF_STATIC_TOPIC}):
            try:
                message = self._deserialize(recorded)
            except ValueError as error:
                self._counts.warnings.append(str(error))
                continue
            for stamped in message.transforms:
                try:
                    self._static_tf.add(stamped)
                except ValueError as error:
                    self._counts.warnings.append(f"{TF_STATIC_TOPIC} has an {error}")
