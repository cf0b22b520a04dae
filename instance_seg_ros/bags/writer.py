"""A new recording with the results of scenes, beside copied inputs."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Writer, WriterError
from rosbags.typesys.store import Typestore

from instance_seg_ros.bags.names import COMPRESSED_IMAGE, RESULT_NAMESPACE
from instance_seg_ros.bags.storage import STORAGES, BagError, RecordedMessage
from instance_seg_ros.core.parameters import GraspingSettings
from instance_seg_ros.messages import foxglove, outgoing
from instance_seg_ros.messages.camera import camera_info
from instance_seg_ros.messages.types import message_factory
from instance_seg_ros.pipeline import Scene
from instance_seg_ros.results.overlay import draw_overlay

_BAG_VERSION = 9  # of metadata.yaml, as Jazzy writes it
_OVERLAY_JPEG_QUALITY = 90


class ResultWriter:
    """Writes scenes, and copies inputs, into an open bag.

    Attributes:
        scenes: how many were written.
    """

    def __init__(self, writer: Writer, typestore: Typestore) -> None:
        self.scenes = 0
        self._writer = writer
        self._typestore = typestore
        self._make = message_factory(typestore)
        self._connections: dict[str, Connection] = {}

    def write(self, time_ns: int, scene: Scene, grasping: GraspingSettings) -> None:
        """Writes all results of a scene."""
        header = outgoing.header(self._make, scene.frame.stamp_ns, scene.frame.frame_id)
        results = {
            "instances": outgoing.instance_array(self._make, scene, grasping=grasping),
            "label_image": outgoing.label_image(self._make, scene),
            "overlay/compressed": self._overlay(scene),
            "camera_info": camera_info(self._make, header, scene.frame.intrinsics),
            "cloud": outgoing.cloud(self._make, scene),
            "annotations": foxglove.image_annotations(self._make, scene),
            "scene": foxglove.scene_update(self._make, scene),
        }
        for name, message in results.items():
            msgtype = message.__msgtype__
            connection = self._connection(f"{RESULT_NAMESPACE}/{name}", msgtype)
            self._writer.write(connection, time_ns, self._typestore.serialize_cdr(message, msgtype))
        self.scenes += 1

    def copy(self, message: RecordedMessage) -> None:
        """Copies a message of the source bag as it is."""
        like = message.connection
        self._writer.write(self._connection(like.topic, like.msgtype, like), message.time_ns, message.raw)

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
def new_bag(target: Path, storage: str, typestore: Typestore) -> Iterator[ResultWriter]:
    """The writer of a bag that is made beside its place, and moved there once it is complete if it holds any scene.

    Args:
        target: folder of the new bag; must not exist.
        storage: a key of `STORAGES`.

    Raises:
        BagError: when the target cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            workplace = tempfile.TemporaryDirectory(dir=target.parent, prefix=".unfinished-")
            unfinished = Path(stack.enter_context(workplace)) / target.name
            writer = Writer(unfinished, version=_BAG_VERSION, storage_plugin=STORAGES[storage])
            writer.open()
        except (OSError, WriterError) as error:
            raise BagError(f"cannot write {target}: {error}") from error
        results = ResultWriter(writer, typestore)
        try:
            yield results
        finally:
            writer.close()
        if results.scenes:
            os.replace(unfinished, target)
