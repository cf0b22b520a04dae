"""What the node writes for a bug report: its latest inputs and results, and how it was set, as one MCAP file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from instance_seg_ros.bags.names import TF_MESSAGE
from instance_seg_ros.bags.storage import BagError, opened_bag
from instance_seg_ros.core.geometry import Transform
from instance_seg_ros.core.parameters import PipelineSettings, stages
from instance_seg_ros.core.settings import SettingValue, from_mapping
from instance_seg_ros.messages.outgoing import header, vector
from instance_seg_ros.messages.types import load_typestore, message_factory

SETTINGS_TOPIC = "/instance_seg/recorded_settings"
"""A std_msgs/String with YAML, see `RecordedSettings.text`."""
TEXT = "std_msgs/msg/String"
_BAG_VERSION = 9
_SECTIONS = ("inputs", "parameters", "model")
_CHANGED = "changed"
"""A section that recordings of releases before it lack."""


class Recorded(NamedTuple):
    """A message as it is written: its topic, its type, when it came and its bytes (CDR)."""

    topic: str
    msgtype: str
    time_ns: int
    raw: bytes


@dataclass(frozen=True)
class RecordedSettings:
    """How a node was set when it recorded.

    Attributes:
        inputs: its topics by what they carry: color, depth, color_info, depth_info.
        parameters: every parameter by its name.
        model: name, version, digest and backend of the network.
        changed: the values that parameters had in the recorded time before those of `parameters`, oldest first.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, SettingValue] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, Sequence[SettingValue]] = field(default_factory=dict)

    def text(self) -> str:
        """As YAML: a mapping for each of the attributes."""
        return yaml.safe_dump({name: dict(getattr(self, name)) for name in (*_SECTIONS, _CHANGED)}, sort_keys=False)

    @classmethod
    def from_text(cls, text: str) -> RecordedSettings:
        """What `text` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"no YAML: {error}") from error
        if not isinstance(content, dict) or not all(isinstance(content.get(name), dict) for name in _SECTIONS):
            raise ValueError(f"not a mapping with {', '.join(_SECTIONS)}")
        changed = content.get(_CHANGED, {})
        if not isinstance(changed, dict) or not all(isinstance(values, list) for values in changed.values()):
            raise ValueError(f"{_CHANGED} is no mapping to lists of values")
        return cls(**{name: content[name] for name in _SECTIONS}, changed=changed)

    @property
    def pipeline(self) -> PipelineSettings:
        """The settings of the stages.

        Raises:
            ValueError: naming one that this version does not have, or that is out of its range.
        """
        grouped: dict[str, dict[str, SettingValue]] = {stage: {} for stage in stages()}
        for name, value in self.parameters.items():
            stage, _, key = name.partition(".")
            if stage in grouped:
                grouped[stage][key] = value
        return PipelineSettings(**{stage: from_mapping(kind, grouped[stage]) for stage, kind in stages().items()})  # type: ignore[arg-type]

    @property
    def T_color_depth(self) -> Transform | None:
        """The pose of the depth camera that was given; None where none was."""
        text = str(self.parameters.get("depth_camera_pose", ""))
        return Transform.from_text(text) if text.strip() else None


def recorded_transform(
    typestore: Typestore,
    topic: str,
    time_ns: int,
    frames: tuple[str, str],
    T_parent_child: Transform,
    stamp_ns: int | None = None,
) -> Recorded:
    """A message on /tf or /tf_static with the pose of the second frame in the first, at a stamp or when it came."""
    make = message_factory(typestore)
    x, y, z, w = T_parent_child.quaternion_xyzw.tolist()
    transform = make(
        "geometry_msgs/msg/Transform",
        translation=vector(make, T_parent_child.translation_m),
        rotation=make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
    )
    stamped = make(
        "geometry_msgs/msg/TransformStamped",
        header=header(make, time_ns if stamp_ns is None else stamp_ns, frames[0]),
        child_frame_id=frames[1],
        transform=transform,
    )
    message = make(TF_MESSAGE, transforms=[stamped])
    return Recorded(topic, TF_MESSAGE, time_ns, bytes(typestore.serialize_cdr(message, TF_MESSAGE)))


def write_recording(path: Path, messages: Iterable[Recorded], typestore: Typestore) -> None:
    """Writes the messages in the order of their times as one MCAP file, which appears whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as folder:
        bag = Path(folder) / path.stem
        connections: dict[str, Connection] = {}
        with Writer(bag, version=_BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer:
            for message in sorted(messages, key=lambda message: message.time_ns):
                if message.topic not in connections:
                    connections[message.topic] = writer.add_connection(
                        message.topic, message.msgtype, typestore=typestore
                    )
                writer.write(connections[message.topic], message.time_ns, message.raw)
        (bag / f"{path.stem}.mcap").replace(path)


def read_settings(source: Path) -> RecordedSettings | None:
    """How the node that wrote this recording was set; None for a recording of another origin.

    Raises:
        BagError: the recording, or the settings that are in it, cannot be read.
    """
    with opened_bag(source) as bag:
        if bag.types.get(SETTINGS_TOPIC) != TEXT:
            return None
        try:
            message: Any = load_typestore().deserialize_cdr(next(bag.messages({SETTINGS_TOPIC})).raw, TEXT)
            return RecordedSettings.from_text(message.data)
        except (StopIteration, SerdeError, ValueError) as error:
            raise BagError(f"{SETTINGS_TOPIC} of {source} cannot be read: {error}") from error
