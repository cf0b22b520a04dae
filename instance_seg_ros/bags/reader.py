"""RGB-D frames from a recording: paired by stamp, depth registered to colour; what makes no frame is counted."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from instance_seg_ros.bags.names import TF_MESSAGE, TF_STATIC_TOPIC, TF_TOPIC
from instance_seg_ros.bags.storage import Bag, BagError, RecordedMessage, opened_bag
from instance_seg_ros.bags.topics import BagTopics, find_topics
from instance_seg_ros.bags.transforms import MAX_GAP_NS, FrameTree, way_between
from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.depth import scale_fault
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages.incoming import MessageMatcher, RgbdMessages, distortion_of, frame_of, stamp_ns_of
from instance_seg_ros.messages.lens import centre_fault
from instance_seg_ros.messages.registration import Registration
from instance_seg_ros.messages.types import load_typestore

DEFAULT_TOLERANCE_S = 0.025
"""Less than half of the frame period at 15 frames a second."""
_SAME_MOMENT_MS = 100.0
"""Images that are farther apart do not show one moment, whatever the tolerance."""


@dataclass
class InputCounts:
    """What was read of a bag.

    Attributes:
        colors, depths: number of images.
        lost: number of colour images without a frame, by cause.
        warnings: what may make the results worse.
        registration: the pose by which depth was registered to colour, in words; empty where it was so already.
        distortion: the images that lens distortion was taken out of, in words; empty for none.
    """

    colors: int = 0
    depths: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    registration: str = ""
    distortion: str = ""


def read_frames(
    source: Path, topic_overrides: Mapping[str, str | None] | None = None, tolerance_s: float = DEFAULT_TOLERANCE_S
) -> Iterator[RgbdFrame]:
    """The frames of a bag, in order: paired by stamp, depth registered to colour. What makes no frame is skipped.

    Raises:
        BagError: when the bag cannot be read or has no such camera.
    """
    with opened_bag(source) as bag:
        topics = topics_of(bag, topic_overrides)
        for _, frame in FrameReader(bag, load_typestore(), topics, tolerance_s, InputCounts()).read():
            yield frame


def topics_of(bag: Bag, overrides: Mapping[str, str | None] | None = None) -> BagTopics:
    """The camera's topics in a bag, see `find_topics`.

    Raises:
        BagError: as `find_topics`.
    """

    def encoding_of(topic: str) -> str:
        try:
            first = _deserialized(load_typestore(), next(bag.messages({topic})))
        except (StopIteration, ValueError):
            return ""
        return str(first.format if hasattr(first, "format") else first.encoding)

    return find_topics(bag.types, overrides, encoding_of)


def _deserialized(typestore: Typestore, message: RecordedMessage) -> Any:
    """A message; ValueError, naming the topic, for one that cannot be read."""
    try:
        return typestore.deserialize_cdr(message.raw, message.connection.msgtype)
    except (SerdeError, struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"a message on {message.connection.topic} cannot be read: {error}") from error


class FrameReader:
    """Reads the frames of an open bag.

    Args:
        tolerance_s: largest difference of the stamps of a colour and a depth image that make a frame.
        counts: counted up while reading.
        T_color_depth: pose of the depth camera in the colour camera's frame, for depth that is not registered; None
            takes it from /tf_static, or else from /tf at the time of the image.
        rectified: the images are rectified, see `messages.lens.camera_of_rectified`.
        max_opening_m: of the gripper, see `scale_fault`.
        pose_frames: the frames that `pose` will be asked for.
        pose_gap_ns: between transforms that are farther apart, `pose` is not known.
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
        max_opening_m: float = 0.0,
        pose_frames: Collection[str] = (),
        pose_gap_ns: int = MAX_GAP_NS,
    ) -> None:
        self._bag = bag
        self._pose_frames = pose_frames
        self._pose_gap_ns = pose_gap_ns
        self._max_opening_m = max_opening_m
        self._typestore = typestore
        self._topics = topics
        self._tolerance_s = tolerance_s
        self._counts = counts
        counts.warnings += bag.warnings
        self._T_color_depth = T_color_depth
        self._rectified = rectified
        self._matcher = MessageMatcher(tolerance_s, rectified)
        self._registration = Registration()
        self._frames = FrameTree()
        self._color_stamps_ns: list[int] = []
        self._depth_stamps_ns: list[int] = []
        self._paired_ns: set[int] = set()
        self._odd: set[str] = set()

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
            BagError: when the bag cannot be read to its end, or no transform in it knows one of the `pose_frames`.
        """
        wanted = {*self._topics.names(), TF_STATIC_TOPIC}
        total = self._bag.count(wanted)
        # Camera infos and static transforms may be recorded after the first image; they hold for the whole bag.
        self._take_first_infos()
        self._take_static_transforms()
        self._take_moving_transforms()
        for read, message in enumerate(self._bag.messages(wanted)):
            progress(read, total)
            listener(message)
            frame = self._take(message)
            if frame is not None:
                yield message.time_ns, frame
        progress(total, total)
        self._note_silent_topics()
        self._matcher.pairer.flush()
        if self._matcher.pairer.unpaired_colors:
            cause = f"no depth image within {self._tolerance_s * 1000:g} ms{self._nearest_text()}"
            self._counts.lost[cause] += self._matcher.pairer.unpaired_colors

    def pose(self, target_frame: str, frame: RgbdFrame) -> Transform | None:
        """`T_target_camera` at the frame's time, while frames are read; None where no transform tells it.

        As tf has it, before the first transform, after the last one, and between two that are far apart nothing is
        known of what moves.
        """
        return self._frames.lookup(target_frame, frame.frame_id, frame.stamp_ns, 0, self._pose_gap_ns)

    def _nearest_text(self) -> str:
        """How far in time depth is from unpaired colour images, for users who might raise the tolerance."""
        alone_ns = [stamp_ns for stamp_ns in self._color_stamps_ns if stamp_ns not in self._paired_ns]
        if not alone_ns or not self._depth_stamps_ns:
            return ""
        depth_ns = np.sort(self._depth_stamps_ns)
        after = np.searchsorted(depth_ns, alone_ns)
        sides_ns = depth_ns[np.clip([after - 1, after], 0, len(depth_ns) - 1)] - np.array(alone_ns)
        nearest_ms = np.where(np.abs(sides_ns[0]) <= np.abs(sides_ns[1]), *sides_ns) / 1e6
        offset_ms = float(np.median(nearest_ms))
        amount = f"{abs(offset_ms):.3g} ms" if abs(offset_ms) < 999.5 else f"{abs(offset_ms) / 1000:.3g} s"
        allowed = "; --tolerance-s allows more" if abs(offset_ms) < _SAME_MOMENT_MS else ""
        return f" (the nearest is {amount} {'later' if offset_ms > 0 else 'earlier'} in the median{allowed})"

    def _note_silent_topics(self) -> None:
        """The images' topics that were recorded, and on which nothing came."""
        counts = self._counts
        for topic in (self._topics.color, self._topics.depth):
            if not self._bag.count({topic}):
                counts.warnings.append(
                    f"the bag has the topic {topic}, but no message on it: did the camera publish it, and did the "
                    "recorder ask for the camera's QoS?"
                )

    def _take(self, message: RecordedMessage) -> RgbdFrame | None:
        try:
            matched = self._add(message.connection.topic, _deserialized(self._typestore, message))
            if matched is None:
                return None
            frame = frame_of(matched, self._depth_pose, self._T_color_depth, self._registration)
        except ValueError as error:
            self._counts.lost[str(error)] += 1
            return None
        self._note_oddities(matched, frame)
        return frame

    def _note_oddities(self, messages: RgbdMessages, frame: RgbdFrame) -> None:
        """What speaks against a frame that is used nevertheless; each kind is told once."""
        self._counts.registration = self._counts.registration or self._registration.text
        distortion = distortion_of(messages)
        self._counts.distortion = self._counts.distortion or distortion.corrected
        for kind, fault in (
            ("distortion", distortion.fault(self._topics.color, "--rectified")),
            ("unit", scale_fault(frame.depth_m, self._max_opening_m)),
            ("camera", centre_fault({"colour": messages.color_info, "depth": messages.depth_info})),
            ("registration", self._registration.fault),
        ):
            if fault and kind not in self._odd:
                self._odd.add(kind)
                self._counts.warnings.append(fault)

    def _add(self, topic: str, message: Any) -> RgbdMessages | None:
        matched = None
        if topic == self._topics.color:
            self._counts.colors += 1
            self._color_stamps_ns.append(stamp_ns_of(message.header))
            matched = self._matcher.add_color(message)
        elif topic == self._topics.depth:
            self._counts.depths += 1
            self._depth_stamps_ns.append(stamp_ns_of(message.header))
            matched = self._matcher.add_depth(message)
        else:
            self._add_info(topic, message)
        if matched is not None:
            self._paired_ns.add(matched.stamp_ns)
        return matched

    def _add_info(self, topic: str, message: Any) -> None:
        if topic == self._topics.color_info:
            self._matcher.add_color_info(message)
        if topic == self._topics.depth_info:
            self._matcher.add_depth_info(message)

    def _depth_pose(self, color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
        T_color_depth = self._frames.lookup(color_frame, depth_frame, stamp_ns)
        if T_color_depth is None:
            raise ValueError(
                f"neither {TF_STATIC_TOPIC} nor {TF_TOPIC} connects {depth_frame!r} to {color_frame!r} at its time; "
                "record them, or give --depth-camera-pose"
            )
        return T_color_depth

    def _take_first_infos(self) -> None:
        info_topics = {topic for topic in (self._topics.color_info, self._topics.depth_info) if topic is not None}
        for topic in info_topics:
            first = next(self._bag.messages({topic}), None)
            if first is not None:
                try:
                    info = _deserialized(self._typestore, first)
                except ValueError:  # counted when its turn comes
                    continue
                self._add_info(topic, info)

    def _take_static_transforms(self) -> None:
        """Remembers them; one that cannot be used causes only a warning, since perhaps no frame needs it."""
        for stamped in self._transforms(TF_STATIC_TOPIC):
            self._take_transform(TF_STATIC_TOPIC, self._frames.add_static, stamped)

    def _take_moving_transforms(self) -> None:
        """Remembers transforms on the ways that are asked for where no static ones are; not a robot's many others."""
        color_frame, depth_frame = self._first_frame_id(self._topics.color), self._first_frame_id(self._topics.depth)
        targets = [*self._pose_frames, *((depth_frame,) if self._T_color_depth is None else ())]
        open_ways = [target for target in targets if self._frames.lookup(target, color_frame, 0) is None]
        if not open_ways:
            return
        parents = self._frames.parents()
        for stamped in self._transforms(TF_TOPIC):
            parents.setdefault(stamped.child_frame_id, stamped.header.frame_id)
        known = {*parents, *parents.values()}
        for unknown in sorted((set(self._pose_frames) & set(open_ways)) - known):
            raise BagError(
                f"no transform of the recording has the frame {unknown!r}; "
                + (
                    f"there are {', '.join(sorted(known))}"
                    if known
                    else f"there is neither {TF_TOPIC} nor a static one"
                )
            )
        ways = [way_between(parents, target, color_frame) for target in open_ways]
        needed = {frame for way in ways if way is not None for frame in (*way[0], *way[1])}
        for stamped in self._transforms(TF_TOPIC):
            if stamped.child_frame_id in needed:
                self._take_transform(TF_TOPIC, self._frames.add_moving, stamped)

    def _first_frame_id(self, topic: str) -> str:
        """The frame_id of the first message on a topic; empty if none can be read."""
        try:
            return str(_deserialized(self._typestore, next(self._bag.messages({topic}))).header.frame_id)
        except (StopIteration, ValueError):
            return ""

    def _transforms(self, topic: str) -> Iterator[Any]:
        """Every TransformStamped on a topic."""
        if self._bag.types.get(topic) != TF_MESSAGE:
            return
        for recorded in self._bag.messages({topic}):
            try:
                yield from _deserialized(self._typestore, recorded).transforms
            except ValueError as error:
                self._counts.warnings.append(str(error))

    def _take_transform(self, topic: str, take: Callable[[Any], None], stamped: Any) -> None:
        try:
            take(stamped)
        except ValueError as error:
            warning = f"{topic} has an {error}"
            if warning not in self._counts.warnings:
                self._counts.warnings.append(warning)
