"""A rosbag2 in, a rosbag2 with the results out, through `rosbags`: no ROS is needed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer, WriterError
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.config import GraspingSettings
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.messages import outgoing
from instance_seg_ros.messages.incoming import MessageMatcher, RgbdMessages, frame_of, is_distorted
from instance_seg_ros.messages.types import load_typestore, message_factory
from instance_seg_ros.pipeline import Pipeline, Scene
from instance_seg_ros.results.overlay import draw_overlay
from instance_seg_ros.tracking.tracker import TimeStep

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, TF = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
STORAGES = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}
RESULT_NAMESPACE = "/instance_seg"
TF_STATIC_TOPIC = "/tf_static"
DEFAULT_TOLERANCE_S = 0.025
"""Below half of the period of a camera of 15 frames a second."""

_BAG_SUFFIXES = (".mcap", ".db3")
_BAG_VERSION = 9  # of metadata.yaml, as Jazzy writes it
_OVERLAY_JPEG_QUALITY = 90
# What rosbags and the libraries below it raise on a storage that is cut short or damaged.
_STORAGE_ERRORS = (ReaderError, sqlite3.Error, struct.error, EOFError, OSError, ValueError, KeyError, AssertionError)


class BagError(InputError):
    """A bag cannot be used; the message names the bag, the cause and, where there is one, the cure."""


@dataclass(frozen=True)
class BagTopics:
    """The topics of an RGB-D camera in a bag; `depth_info` is None where depth has no CameraInfo of its own."""

    color: str
    color_info: str
    depth: str
    depth_info: str | None = None

    def names(self) -> list[str]:
        """All of them."""
        return [topic for topic in (self.color, self.color_info, self.depth, self.depth_info) if topic is not None]


@dataclass
class BagSummary:
    """What became of a bag.

    Attributes:
        colors, depths: number of images read.
        frames: number of frames for which results were written.
        instances, grasps: found in all frames together.
        lost: number of colour images without results, by cause.
        warnings: what may make the results worse.
        elapsed_s: wall-clock time.
        stage_times_s: total seconds of each stage.
        time_steps: number of frames by how their stamps follow each other.
    """

    colors: int = 0
    depths: int = 0
    frames: int = 0
    instances: int = 0
    grasps: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0
    stage_times_s: Counter[str] = field(default_factory=Counter)
    time_steps: Counter[TimeStep] = field(default_factory=Counter)


def find_topics(types: Mapping[str, str], overrides: Mapping[str, str | None] | None = None) -> BagTopics:
    """The camera's topics, from their types and names; `overrides` ("color", "depth", "color_info", "depth_info") win.

    Depth that is registered to colour is preferred to other depth, raw images to compressed ones.

    Args:
        types: topic name to message type.

    Raises:
        BagError: listing the topics, when one is missing, ambiguous or not of a type that fits.
    """
    chosen = {key: topic for key, topic in (overrides or {}).items() if topic is not None}
    for key, topic in chosen.items():
        fitting = (CAMERA_INFO,) if key.endswith("_info") else (IMAGE, COMPRESSED_IMAGE)
        if types.get(topic) not in fitting:
            found = "is not in the bag" if topic not in types else f"has the type {types[topic]}"
            raise BagError(f"{topic}, given for {key}, {found}; {_listing(types)}")
    color = chosen.get("color") or _best_image(types, "colour", "--color-topic", _color_rank)
    depth = chosen.get("depth") or _best_image(types, "depth", "--depth-topic", _depth_rank)
    color_info = chosen.get("color_info") or _info_of(color, types)
    if color_info is None:
        raise BagError(f"found no CameraInfo of {color}; name it with --color-info-topic; {_listing(types)}")
    return BagTopics(color, color_info, depth, chosen.get("depth_info") or _info_of(depth, types))


def check_bag(source: Path, target: Path, topic_overrides: Mapping[str, str | None] | None = None) -> None:
    """What `process_bag` finds before the first message.

    Raises:
        BagError: when the bag cannot be opened or has no such camera, or the target exists.
    """
    if target.exists():
        raise BagError(f"{target} exists already; give --out a folder that does not")
    with _opened(source) as reader:
        _topics_of(reader, topic_overrides)


def process_bag(
    source: Path,
    target: Path,
    pipeline: Pipeline,
    *,
    topic_overrides: Mapping[str, str | None] | None = None,
    tolerance_s: float = DEFAULT_TOLERANCE_S,
    storage: str | None = None,
    copy_inputs: bool = False,
    max_frames: int | None = None,
    T_color_depth: Transform | None = None,
    rectified: bool = False,
    progress: Callable[[int, int], None] = lambda read, total: None,
) -> BagSummary:
    """Runs the pipeline on every frame of a bag and writes a bag with the results, which appears whole or not at all.

    Where no frame could be processed, there is no new bag; the summary tells why.
    The results have the stamps of their colour images and lie at the times at which the bag's frames were complete:
    `instances`, `label_image`, `overlay/compressed` (JPEG) and `cloud`, under `/instance_seg`.

    Args:
        source: a rosbag2 folder, or a single .mcap or .db3 file.
        target: folder of the new bag; must not exist.
        tolerance_s: largest difference of the stamps of a colour and a depth image that make a frame.
        storage: a key of `STORAGES`; None takes that of `source`.
        copy_inputs: copy the camera's topics and /tf_static too, so that the new bag can be played by itself.
        T_color_depth: pose of the depth camera in the colour camera's frame, for depth that is not registered; None
            takes it from /tf_static.
        rectified: the images are rectified, see `messages.incoming.camera_of_rectified`.
        progress: called with the number of messages read and in total.

    Raises:
        BagError: when the bag cannot be read, has no such camera, or the target cannot be written.
    """
    started_s = time.perf_counter()
    check_bag(source, target, topic_overrides)
    typestore = load_typestore()
    summary = BagSummary()
    pipeline.tracker.reset()  # a bag has its own time
    with _opened(source) as reader:
        topics = _topics_of(reader, topic_overrides)
        source_storage = "mcap" if _is_mcap(source) else "sqlite3"
        with _new_bag(target, STORAGES[storage or source_storage], summary) as writer:
            sink = _ResultWriter(writer, typestore)
            frames = _FrameReader(reader, typestore, topics, tolerance_s, T_color_depth, summary, rectified)
            if copy_inputs:
                frames.listener = sink.copy
            for time_ns, frame in frames.read(source, progress):
                scene = pipeline.run(frame)
                sink.write(time_ns, scene, pipeline.grasp_sampler.settings)
                summary.frames += 1
                summary.instances += len(scene.instances)
                summary.grasps += sum(len(grasps.grasps) for grasps in scene.grasps)
                summary.stage_times_s.update(scene.stage_times_s)
                summary.time_steps[scene.time_step] += 1
                if summary.frames == max_frames:
                    break
    summary.elapsed_s = time.perf_counter() - started_s
    return summary


def read_frames(
    source: Path, topic_overrides: Mapping[str, str | None] | None = None, tolerance_s: float = DEFAULT_TOLERANCE_S
) -> Iterator[RgbdFrame]:
    """The frames of a bag, in order: paired by stamp, depth registered to colour. What makes no frame is passed over.

    Raises:
        BagError: when the bag cannot be read or has no such camera.
    """
    with _opened(source) as reader:
        topics = _topics_of(reader, topic_overrides)
        frames = _FrameReader(reader, load_typestore(), topics, tolerance_s, None, BagSummary())
        for _, frame in frames.read(source, lambda read, total: None):
            yield frame


def _topics_of(reader: Reader, overrides: Mapping[str, str | None] | None) -> BagTopics:
    return find_topics({connection.topic: connection.msgtype for connection in reader.connections}, overrides)


class _FrameReader:
    """Reads frames from an open bag; what does not become a frame is counted by its cause."""

    def __init__(
        self,
        reader: Reader,
        typestore: Typestore,
        topics: BagTopics,
        tolerance_s: float,
        T_color_depth: Transform | None,
        summary: BagSummary,
        rectified: bool = False,
    ) -> None:
        self._reader = reader
        self._typestore = typestore
        self._topics = topics
        self._tolerance_s = tolerance_s
        self._T_color_depth = T_color_depth
        self._summary = summary
        self._rectified = rectified
        self._matcher = MessageMatcher(tolerance_s, rectified)
        self._static_tf: dict[str, tuple[str, Transform]] = {}
        self.listener: Callable[[Connection, int, bytes], None] = lambda connection, time_ns, raw: None

    def read(self, source: Path, progress: Callable[[int, int], None]) -> Iterator[tuple[int, RgbdFrame]]:
        """(time in the bag in nanoseconds, frame) of each frame."""
        wanted = {*self._topics.names(), TF_STATIC_TOPIC}
        connections = [connection for connection in self._reader.connections if connection.topic in wanted]
        total = sum(connection.msgcount for connection in connections)
        # Camera infos and static transforms may be recorded after the first image; they hold for the whole bag.
        for connection, _, raw in _messages(source, self._reader, [c for c in connections if c.msgtype == TF]):
            self._take_transforms(connection, raw)
        self._take_first_infos(source, connections)
        read = 0
        for connection, time_ns, raw in _messages(source, self._reader, connections):
            progress(read, total)
            read += 1
            self.listener(connection, time_ns, raw)
            frame = self._take(connection, raw)
            if frame is not None:
                yield time_ns, frame
        if read < total:  # a damaged chunk of an mcap file is passed over without an error
            raise BagError(
                f"{source} cannot be read as a rosbag2: it holds {total} messages, but only {read} are whole"
            )
        progress(total, total)
        self._matcher.pairer.flush()
        if self._matcher.pairer.unpaired_colors:
            cause = f"no depth image within {self._tolerance_s * 1000:g} ms"
            self._summary.lost[cause] += self._matcher.pairer.unpaired_colors

    def _take(self, connection: Connection, raw: bytes) -> RgbdFrame | None:
        try:
            matched = self._add(connection.topic, self._deserialize(connection, raw))
            return None if matched is None else frame_of(matched, self._depth_pose, self._T_color_depth)
        except ValueError as error:
            self._summary.lost[str(error)] += 1
            return None

    def _deserialize(self, connection: Connection, raw: bytes) -> Any:
        try:
            return self._typestore.deserialize_cdr(raw, connection.msgtype)
        except (SerdeError, struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"a message on {connection.topic} cannot be read: {error}") from error

    def _add(self, topic: str, message: Any) -> RgbdMessages | None:
        if topic == self._topics.color:
            self._summary.colors += 1
            return self._matcher.add_color(message)
        if topic == self._topics.depth:
            self._summary.depths += 1
            return self._matcher.add_depth(message)
        self._add_info(topic, message)
        return None

    def _add_info(self, topic: str, message: Any) -> None:
        if topic == self._topics.color_info:
            self._matcher.add_color_info(message)
        if topic == self._topics.depth_info:
            self._matcher.add_depth_info(message)

    def _depth_pose(self, color_frame: str, depth_frame: str, stamp_ns: int) -> Transform:
        T_color_depth = transform_between(self._static_tf, color_frame, depth_frame)
        if T_color_depth is None:
            raise ValueError(
                f"{TF_STATIC_TOPIC} does not connect {depth_frame!r} to {color_frame!r}; record it, or give "
                "--depth-camera-pose"
            )
        return T_color_depth

    def _take_first_infos(self, source: Path, connections: Sequence[Connection]) -> None:
        for topic in {self._topics.color_info, self._topics.depth_info}:
            of_topic = [connection for connection in connections if connection.topic == topic]
            first = next(_messages(source, self._reader, of_topic), None)
            if first is not None:
                try:
                    info = self._deserialize(first[0], first[2])
                except ValueError:  # counted when it is read in its turn
                    continue
                self._add_info(first[0].topic, info)
                if topic == self._topics.color_info and is_distorted(info) and not self._rectified:
                    self._summary.warnings.append(
                        "the CameraInfo has distortion coefficients, which are not corrected: positions near the "
                        "border are off; record the rectified images and give --rectified"
                    )

    def _take_transforms(self, connection: Connection, raw: bytes) -> None:
        """Remembers the transforms of a message; one that cannot be used is warned of: no frame may need it."""
        try:
            message = self._deserialize(connection, raw)
        except ValueError as error:
            self._summary.warnings.append(str(error))
            return
        for stamped in message.transforms:
            try:
                self._static_tf[stamped.child_frame_id] = (stamped.header.frame_id, _transform_of(stamped))
            except ValueError as error:
                self._summary.warnings.append(str(error))


class _ResultWriter:
    """Writes scenes, and copies inputs, into an open bag."""

    def __init__(self, writer: Writer, typestore: Typestore) -> None:
        self._writer = writer
        self._typestore = typestore
        self._make = message_factory(typestore)
        self._connections: dict[str, Connection] = {}

    def write(self, time_ns: int, scene: Scene, grasping: GraspingSettings) -> None:
        """All results of a scene."""
        results = {
            "instances": outgoing.instance_array(self._make, scene, grasping=grasping),
            "label_image": outgoing.label_image(self._make, scene),
            "overlay/compressed": self._overlay(scene),
            "cloud": outgoing.cloud(self._make, scene),
        }
        for name, message in results.items():
            msgtype = message.__msgtype__
            connection = self._connection(f"{RESULT_NAMESPACE}/{name}", msgtype)
            self._writer.write(connection, time_ns, self._typestore.serialize_cdr(message, msgtype))

    def copy(self, source: Connection, time_ns: int, raw: bytes) -> None:
        """A message of the source bag as it is."""
        self._writer.write(self._connection(source.topic, source.msgtype, source), time_ns, raw)

    def _connection(self, topic: str, msgtype: str, like: Connection | None = None) -> Connection:
        if topic not in self._connections:
            qos = like.ext.offered_qos_profiles if like is not None else ()
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=self._typestore, offered_qos_profiles=qos
            )
        return self._connections[topic]

    def _overlay(self, scene: Scene) -> Any:
        overlay_bgr = cv2.cvtColor(draw_overlay(scene), cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", overlay_bgr, [cv2.IMWRITE_JPEG_QUALITY, _OVERLAY_JPEG_QUALITY])
        return self._make(
            COMPRESSED_IMAGE,
            header=outgoing.header(self._make, scene.frame.stamp_ns, scene.frame.frame_id),
            format="bgr8; jpeg compressed bgr8",
            data=jpeg.reshape(-1),
        )


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[Reader]:
    """The reader of a bag; the many kinds of errors that opening one may raise as BagError."""
    if not source.exists():
        raise BagError(f"{source} does not exist")
    if source.is_dir() and not (source / "metadata.yaml").is_file():
        cut_short = any(path.suffix in _BAG_SUFFIXES for path in source.iterdir())
        cure = "`ros2 bag reindex` makes it anew" if cut_short else "give the folder of a recording"
        raise BagError(f"{source} is no rosbag2: it holds no metadata.yaml; {cure}")
    if source.is_file() and source.suffix not in _BAG_SUFFIXES:
        raise BagError(f"{source} is no rosbag2: give a folder, or a file {' or '.join(_BAG_SUFFIXES)}")
    try:
        reader = Reader(source)
        reader.open()
    except _STORAGE_ERRORS as error:
        raise _unreadable(source, error) from error
    try:
        yield reader
    finally:
        reader.close()


@contextlib.contextmanager
def _new_bag(target: Path, storage: StoragePlugin, summary: BagSummary) -> Iterator[Writer]:
    """The writer of a bag that is made beside its place and moved there when it is complete and some frame is in it."""
    with contextlib.ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            workplace = tempfile.TemporaryDirectory(dir=target.parent, prefix=".unfinished-")
            unfinished = Path(stack.enter_context(workplace)) / target.name
            writer = Writer(unfinished, version=_BAG_VERSION, storage_plugin=storage)
            writer.open()
        except (OSError, WriterError) as error:
            raise BagError(f"cannot write {target}: {error}") from error
        try:
            yield writer
        finally:
            writer.close()
        if summary.frames:
            os.replace(unfinished, target)


def _transform_of(stamped: Any) -> Transform:
    """Of a TransformStamped; ValueError, naming its frames, where it is none."""
    rotation, translation = stamped.transform.rotation, stamped.transform.translation
    try:
        return Transform.from_quaternion(
            (rotation.x, rotation.y, rotation.z, rotation.w), (translation.x, translation.y, translation.z)
        )
    except ValueError as error:
        frames = f"from {stamped.child_frame_id!r} to {stamped.header.frame_id!r}"
        raise ValueError(f"{TF_STATIC_TOPIC} has an unusable transform {frames}: {error}") from error


def transform_between(
    tree: Mapping[str, tuple[str, Transform]], target_frame: str, source_frame: str
) -> Transform | None:
    """`T_target_source` through a tree of child frame to (parent frame, T_parent_child); None where no way leads."""
    target_chain = _chain_to_root(tree, target_frame)
    source_chain = _chain_to_root(tree, source_frame)
    common = next((frame for frame in source_chain if frame in target_chain), None)
    return None if common is None else target_chain[common].inverse() @ source_chain[common]


def _chain_to_root(tree: Mapping[str, tuple[str, Transform]], frame: str) -> dict[str, Transform]:
    """Every ancestor of a frame, itself first, with T_ancestor_frame."""
    chain = {frame: Transform.identity()}
    current = frame
    while current in tree and tree[current][0] not in chain:
        parent, T_parent_current = tree[current]
        chain[parent] = T_parent_current @ chain[current]
        current = parent
    return chain


def _messages(
    source: Path, reader: Reader, connections: Sequence[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    if not connections:  # rosbags would take none for all
        return
    try:
        yield from reader.messages(connections=connections)
    except _STORAGE_ERRORS as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: BaseException) -> BagError:
    cause = " ".join(str(error).split()) or type(error).__name__  # some libraries explain over several lines
    cure = "a recording that was cut short: `ros2 bag reindex` may help"
    return BagError(f"{source} cannot be read as a rosbag2: {cause}; {cure}")


def _is_mcap(source: Path) -> bool:
    return source.suffix == ".mcap" or any(source.glob("*.mcap"))


def _color_rank(topic: str) -> int | None:
    """How well a name fits a colour image, smaller is better; None when it does not."""
    name = topic.lower()
    parts = set(name.split("/"))
    if any(word in name for word in ("depth", "infra", "confidence", "disparity", RESULT_NAMESPACE)):
        return None
    # Of a stereo camera the left image is that of its depth; grey images and the right one are the last resort.
    if any(word in name for word in ("right", "gray", "grey", "mono")):
        return 3
    if "left" in name:
        return 2
    return 0 if parts & {"color", "colour", "rgb"} else 1


def _depth_rank(topic: str) -> int | None:
    """Likewise for a depth image."""
    name = topic.lower()
    if "depth" not in name or any(word in name for word in ("confidence", "infra", RESULT_NAMESPACE)):
        return None
    return 0 if "aligned" in name or "registered" in name else 1


def _best_image(types: Mapping[str, str], what: str, option: str, rank: Callable[[str], int | None]) -> str:
    ranked = []
    for topic, msgtype in types.items():
        fit = rank(topic) if msgtype in (IMAGE, COMPRESSED_IMAGE) else None
        if fit is not None:
            ranked.append(((fit, msgtype == COMPRESSED_IMAGE), topic))
    best = [topic for key, topic in sorted(ranked) if key == min(ranked)[0]]
    if not best:
        raise BagError(f"found no {what} image; name it with {option}; {_listing(types)}")
    if len(best) > 1:
        raise BagError(f"several topics may be the {what} image ({', '.join(best)}); choose one with {option}")
    return best[0]


def _info_of(image_topic: str, types: Mapping[str, str]) -> str | None:
    """The CameraInfo beside an image, as image_transport names it."""
    parts = image_topic.split("/")
    # /camera/color/image_raw/compressed has its CameraInfo at /camera/color/camera_info
    for kept in (len(parts) - 1, len(parts) - 2):
        candidate = "/".join([*parts[:kept], "camera_info"])
        if types.get(candidate) == CAMERA_INFO:
            return candidate
    return None


def _listing(types: Mapping[str, str]) -> str:
    return "the bag has " + (
        ", ".join(f"{topic} ({msgtype})" for topic, msgtype in sorted(types.items())) or "no topics"
    )
