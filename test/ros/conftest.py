"""Real nodes, messages and DDS in one process: the node under test beside a probe that plays camera and planner."""

from __future__ import annotations

import gc
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.compiled import compile_kernels
from instance_seg_ros.core.instances import Instances
from instance_seg_ros.core.parameters import PipelineSettings
from instance_seg_ros.grasping.sampler import GraspSampler
from instance_seg_ros.lifting import Lifter
from instance_seg_ros.messages.camera import camera_info, color_image, depth_image
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.ros.convert import make_message
from instance_seg_ros.ros.middleware import with_profiles
from instance_seg_ros.ros.node import InstanceSegNode
from instance_seg_ros.segmentation import ModelInfo
from instance_seg_ros.srv import Segment
from instance_seg_ros.tracking.tracker import Tracker

# Read when the first participant is made: without it, images between processes wait for repairs every now and then.
os.environ.update(with_profiles(os.environ))

STDERR = 2
"""Where ROS writes its log: into a file of pytest's `capfd`, for a test that has it."""
TIMEOUT_S = 20.0
OPTICAL_FRAME = "camera_color_optical_frame"


class BlobSegmenter:
    """A segmenter without a network: what is clearly nearer than the median depth, one instance for each blob."""

    info = ModelInfo("blobs", "1", ("object",), 0.5, 0.5, "f" * 64)
    backend = "OpenCV"

    def segment(self, frame: RgbdFrame) -> Instances:
        """Instances of score 1."""
        measured = frame.depth_m[frame.depth_m > 0]
        if not measured.size:
            return Instances.empty(*frame.depth_m.shape, self.info.class_names)
        near = (frame.depth_m > 0) & (frame.depth_m < np.median(measured) - 0.02)
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8))
        small = np.flatnonzero(statistics[:, cv2.CC_STAT_AREA] < 100)
        labels[np.isin(labels, small)] = 0
        return Instances.from_labels(labels)


def build_blob_pipeline(settings: PipelineSettings, model_path: Path | None) -> Pipeline:
    """The real pipeline around the BlobSegmenter."""
    return Pipeline(
        BlobSegmenter(),
        Lifter(settings.lifting),
        GraspSampler(settings.grasping, settings.gripper),
        Tracker(settings.tracking),
    )


class Probe(Node):
    """Plays the camera and everybody who listens."""

    def __init__(self) -> None:
        super().__init__("probe")
        self.received: dict[str, list[Any]] = defaultdict(list)
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self._inputs = {
            (name, message_type): self.create_publisher(message_type, f"/instance_seg/{topic}", reliable)
            for name, message_type, topic in (
                ("color", Image, "color/image_raw"),
                ("color", CompressedImage, "color/image_raw/compressed"),
                ("color_info", CameraInfo, "color/camera_info"),
                ("depth", Image, "depth/image_raw"),
                ("depth", CompressedImage, "depth/image_raw/compressedDepth"),
                ("depth_info", CameraInfo, "depth/camera_info"),
            )
        }
        self.listened: list[str] = []
        self.listen("instances", InstanceArray)
        self.create_subscription(DiagnosticArray, "/diagnostics", self.received["diagnostics"].append, reliable)

    def listen(self, name: str, message_type: type) -> None:
        """Collects an output of the node in `received[name]`."""
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(message_type, f"/instance_seg/{name}", self.received[name].append, qos)
        self.listened.append(name)

    def send(self, name: str, message: Any) -> None:
        """Publishes on an input of the node."""
        self._inputs[name, type(message)].publish(message)

    def input_publishers(self, name: str) -> list[Publisher]:
        """The probe's publishers of an input, one for each type."""
        return [publisher for (an_input, _), publisher in self._inputs.items() if an_input == name]

    def subscribers(self, name: str, message_type: type) -> int:
        """How many have matched the publisher of an input."""
        return self._inputs[name, message_type].get_subscription_count()

    @property
    def answers(self) -> list[InstanceArray]:
        """All InstanceArrays, in their order."""
        return self.received["instances"]

    def answer(self, stamp_ns: int) -> InstanceArray | None:
        """The answer to the frame of that stamp, None while there is none."""
        return next((answer for answer in self.answers if stamp_ns_of(answer.header) == stamp_ns), None)

    def status(self, name: str) -> DiagnosticStatus | None:
        """The node's latest diagnostics of that name."""
        for array in reversed(self.received["diagnostics"]):
            for status in array.status:
                if status.name == f"instance_seg: {name}":
                    return status
        return None

    def status_text(self, name: str) -> str:
        """The message of those diagnostics; empty while there are none."""
        status = self.status(name)
        return "" if status is None else str(status.message)


class Stage:
    """The node under test, the probe and the executor of both."""

    def __init__(self, node: InstanceSegNode, probe: Probe, executor: SingleThreadedExecutor) -> None:
        self.node = node
        self.probe = probe
        self.executor = executor

    def log_lines(self, text: str) -> list[str]:
        """The node's log lines with that text in them, as a person sees them."""
        # Not by the fixture's readouterr(): it empties the file that it has read, and loses what the node's threads
        # wrote in between.
        logged = os.pread(STDERR, os.fstat(STDERR).st_size, 0).decode(errors="replace")
        return [line for line in logged.splitlines() if text in line]

    def close(self) -> None:
        """Ends both nodes, and lets go of them: pytest keeps a fixture until its test has been torn down."""
        self.node.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.probe.destroy_node()
        del self.node, self.probe, self.executor

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
        """Executes callbacks until the condition holds, and fails naming `what` when it does not in time."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                logged = "\n".join(self.log_lines(""))
                pytest.fail(f"waited {timeout_s:g} s in vain for {what}; logged:\n{logged}")
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, service_type: type, name: str, request: Any) -> Any:
        """Calls a service of the node."""
        client = self.probe.create_client(service_type, f"/instance_seg/{name}")
        self.wait(client.service_is_ready, f"the service {name}")
        future = client.call_async(request)
        self.wait(future.done, f"the answer of {name}")
        self.probe.destroy_client(client)
        return future.result()

    def start(self, *, color: type = Image, depth: type | None = Image) -> None:
        """Brings the node to active and waits until everything is connected."""
        assert self.node.trigger_configure().name == "SUCCESS"
        assert self.node.trigger_activate().name == "SUCCESS"
        self.wait(lambda: self.connected(color=color, depth=depth), "the connections between node and probe")

    def waits_for_a_frame(self) -> bool:
        """Whether a call of `segment` waits in the node for its frame."""
        return bool(self.node._requests)

    def segment(self, request: Segment.Request, frame: RgbdFrame) -> Segment.Response:
        """Calls `segment`, and sends the frame that answers it."""
        client = self.probe.create_client(Segment, "/instance_seg/segment")
        self.wait(client.service_is_ready, "the service")
        future = client.call_async(request)
        self.wait(self.waits_for_a_frame, "the call")
        self.send_frame(frame)
        self.wait(future.done, "the answer")
        self.probe.destroy_client(client)
        return future.result()

    def connected(self, *, color: type = Image, depth: type | None = Image) -> bool:
        """Whether the probe reaches the inputs, without depth for None, and the node the probe."""
        inputs = (("color", color), ("depth", depth), ("color_info", CameraInfo), ("depth_info", CameraInfo))
        outputs = self.node.subscribers()
        return all(self.probe.subscribers(name, kind) for name, kind in inputs if kind is not None) and all(
            outputs[f"/instance_seg/{name}"] for name in self.probe.listened
        )

    def pairs(self) -> int:
        """How many pairs of images the node has made since it was activated."""
        return self.counted("pairs")

    def counted(self, fact: str) -> int:
        """A count of the latest diagnostics of the inputs; 0 while there are none."""
        status = self.probe.status("inputs")
        return 0 if status is None else int({value.key: value.value for value in status.values}.get(fact, 0))

    def stamp_ns(self) -> int:
        """The time of now."""
        return int(self.node.get_clock().now().nanoseconds)

    def send_frame(self, frame: RgbdFrame) -> int:
        """Sends a frame as a camera does, stamped now.

        Returns:
            Its stamp.
        """
        stamp_ns = self.stamp_ns()
        info, color, depth = camera_messages(replace(frame, stamp_ns=stamp_ns))
        self.probe.send("color_info", info)
        self.probe.send("color", color)
        self.probe.send("depth", depth)
        return stamp_ns

    def answer_to(self, stamp_ns: int) -> InstanceArray:
        """The answer to the frame of that stamp, waited for."""
        self.wait(lambda: self.probe.answer(stamp_ns), "the answer to a frame")
        answer = self.probe.answer(stamp_ns)
        assert answer is not None
        return answer


def camera_messages(frame: RgbdFrame) -> tuple[CameraInfo, Image, Image]:
    """CameraInfo, colour and depth of a frame, with its stamp."""
    stamped = header(make_message, frame.stamp_ns, frame.frame_id)
    assert frame.color_rgb is not None
    return (
        camera_info(make_message, stamped, frame.intrinsics),
        color_image(make_message, stamped, frame.color_rgb),
        depth_image(make_message, stamped, frame.depth_m),
    )


@pytest.fixture
def messages_of() -> Callable[[RgbdFrame], tuple[CameraInfo, Image, Image]]:
    """Makes CameraInfo, colour and depth of a frame."""
    return camera_messages


@pytest.fixture
def compressed_messages_of() -> Callable[[RgbdFrame, int], tuple[int, list[tuple[str, Any]]]]:
    """Makes the stamp and the named messages of a frame as image_transport's plugins compress them."""

    def make(frame: RgbdFrame, stamp_ns: int) -> tuple[int, list[tuple[str, Any]]]:
        stamped = header(make_message, stamp_ns, frame.frame_id)
        assert frame.color_rgb is not None
        jpeg = cv2.imencode(".jpg", frame.color_rgb[..., ::-1])[1].tobytes()
        png = cv2.imencode(".png", np.round(frame.depth_m * 1000).astype(np.uint16))[1].tobytes()
        # compressedDepth: a header of twelve bytes, without meaning for 16UC1, then the PNG.
        return stamp_ns, [
            ("color_info", camera_info(make_message, stamped, frame.intrinsics)),
            ("color", CompressedImage(header=stamped, format="rgb8; jpeg compressed bgr8", data=jpeg)),
            ("depth", CompressedImage(header=stamped, format="16UC1; compressedDepth png", data=bytes(12) + png)),
        ]

    return make


@pytest.fixture
def blob_pipeline() -> Callable[..., Pipeline]:
    """Builds the pipeline around the BlobSegmenter."""
    return build_blob_pipeline


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    """ROS for the whole run; no node compiles while it is waited for, also after an edit without `make setup`."""
    compile_kernels(print)
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def make_stage(ros: None, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Stage]]:
    """Makes a Stage; keyword arguments are the node's parameters, `build_pipeline` replaces the blobs' pipeline.

    The node has the `namespace` that is given, but the probe plays its camera only where it has none.
    """
    stages: list[Stage] = []

    def make(
        build_pipeline: Callable[..., Pipeline] = build_blob_pipeline, namespace: str = "", **parameters: Any
    ) -> Stage:
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        node = InstanceSegNode(build_pipeline, parameter_overrides=overrides, namespace=namespace)
        probe = Probe()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.add_node(probe)
        stages.append(Stage(node, probe, executor))
        return stages[-1]

    yield make
    while stages:
        stages.pop().close()
    # rclpy's lifecycle state machine holds its node until Python collects the cycle that both are in; the next test
    # would see it until then.
    gc.collect()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """The node with default parameters, active, everything connected."""
    made = make_stage()
    for name, message_type in (
        ("label_image", Image),
        ("overlay", Image),
        ("cloud", PointCloud2),
        ("markers", MarkerArray),
    ):
        made.probe.listen(name, message_type)
    made.start()
    return made
