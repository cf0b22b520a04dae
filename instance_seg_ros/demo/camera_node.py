"""A camera node without a camera: publishes a simulated tabletop, captures from disk or a rosbag2 as a driver would.

    python -m instance_seg_ros.demo.camera_node [--frames-dir DIR | --bag PATH] [--rate HZ] [--count N] [--repeat]

Topics below the node's name `camera`: color/image_raw, color/camera_info, depth/image_raw, all reliable, stamped when
sent. With --answers TOPIC each frame is sent after the one before was answered there, so none is lost; else at --rate.
With --repeat captures and bags begin anew at their end, as a camera does not end either.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from instance_seg_ros.core.camera import RgbdFrame
from instance_seg_ros.core.errors import InputError
from instance_seg_ros.demo.processes import run_node, wait_until
from instance_seg_ros.files.captures import capture_folders, read_capture
from instance_seg_ros.messages.camera import camera_info, color_image, depth_image
from instance_seg_ros.messages.incoming import stamp_ns_of
from instance_seg_ros.messages.outgoing import header
from instance_seg_ros.msg import InstanceArray
from instance_seg_ros.results.drawing import depth_picture
from instance_seg_ros.ros.convert import make_message

NODE_NAME = "camera"
QUEUE_DEPTH = 5
ANSWERS_KEPT = 100


class CameraNode(Node):
    """Publishes frames; with an answers topic it knows which of them were answered.

    Args:
        answers_topic: topic of the InstanceArray that answers each frame; None to publish without asking.
    """

    def __init__(self, answers_topic: str | None = None) -> None:
        super().__init__(NODE_NAME)
        qos = QoSProfile(depth=QUEUE_DEPTH)
        self._info = self.create_publisher(CameraInfo, "~/color/camera_info", qos)
        self._color = self.create_publisher(Image, "~/color/image_raw", qos)
        self._depth = self.create_publisher(Image, "~/depth/image_raw", qos)
        self._answered_ns: deque[int] = deque(maxlen=ANSWERS_KEPT)
        self._answers_topic = answers_topic and self.resolve_topic_name(answers_topic)
        self._listeners_to_answers = 0
        if self._answers_topic:
            self.create_subscription(InstanceArray, self._answers_topic, self._on_answer, qos)
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos)

    def publish(self, frame: RgbdFrame) -> int:
        """Publishes a frame stamped with the present time.

        Returns:
            Its stamp, nanoseconds.
        """
        stamp_ns = int(self.get_clock().now().nanoseconds)
        stamped = header(make_message, stamp_ns, frame.frame_id)
        # The CameraInfo first, so that it is there when the image is.
        self._info.publish(camera_info(make_message, stamped, frame.intrinsics))
        # A capture without colour shows its depth to the eye: the node needs a colour image for each frame.
        color_rgb = depth_picture(frame.depth_m) if frame.color_rgb is None else frame.color_rgb
        self._color.publish(color_image(make_message, stamped, color_rgb))
        self._depth.publish(depth_image(make_message, stamped, frame.depth_m))
        return stamp_ns

    def answered(self, stamp_ns: int) -> bool:
        """Whether the frame of that stamp is among those that were answered lately."""
        return stamp_ns in self._answered_ns

    def heard_by(self, subscribers: int) -> bool:
        """Whether both images and the answers have that many subscribers, and the CameraInfo one.

        Their number of the answers is what the publisher says in its diagnostics: only it knows who gets its messages.
        """
        listeners = [publisher.get_subscription_count() for publisher in (self._color, self._depth)]
        return min(*listeners, self._listeners_to_answers) >= subscribers and self._info.get_subscription_count() > 0

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            for fact in status.values:
                if fact.key == self._answers_topic:
                    self._listeners_to_answers = int(fact.value)

    def _on_answer(self, answer: InstanceArray) -> None:
        self._answered_ns.append(stamp_ns_of(answer.header))


def simulated_frames(seed: int, rate_hz: float) -> Iterator[RgbdFrame]:
    """The moving tabletop, without end, at this many frames a second of its own time."""
    # Imported here: replaying needs neither the physics nor the renderer.
    from instance_seg_ros.learning.synthetic.tabletop import SimulatedTabletop

    for simulated in SimulatedTabletop(seed=seed, rate_hz=rate_hz):
        yield simulated.frame


def made_ahead(frames: Iterator[RgbdFrame]) -> Iterator[RgbdFrame]:
    """The same frames, each of which a thread makes while the one before is published and waited for.

    Raises:
        Exception: what `frames` raises, in place of the frame that it could not make.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = pool.submit(next, frames, None)
            yield frame


def captured_frames(folder: Path) -> Iterator[RgbdFrame]:
    """The captures in a folder, sorted by name.

    Raises:
        CaptureError: naming the file and the cause.
    """
    for capture_folder in capture_folders(folder):
        yield read_capture(capture_folder).frame


def recorded_frames(path: Path) -> Iterator[RgbdFrame]:
    """The RGB-D frames of a rosbag2 (sqlite3 or mcap), in their order.

    Raises:
        BagError: naming the file and the cause.
    """
    from instance_seg_ros.bags.reader import read_frames

    yield from read_frames(path)


def repeated(frames: Callable[[], Iterable[RgbdFrame]]) -> Iterator[RgbdFrame]:
    """The frames again and again, as often as there are any."""
    while True:
        count = 0
        for frame in frames():
            yield frame
            count += 1
        if count == 0:
            return


def publish_in_lockstep(
    node: CameraNode, executor: SingleThreadedExecutor, frames: Iterable[RgbdFrame], timeout_s: float
) -> int:
    """Publishes each frame after the one before was answered.

    Returns:
        How many frames were published.

    Raises:
        TimeoutError: when a frame is not answered in time.
    """
    published = 0
    for frame in frames:
        stamp_ns = node.publish(frame)
        published += 1
        if not wait_until(lambda: node.answered(stamp_ns), executor, timeout_s):  # noqa: B023 - called at once
            raise TimeoutError(f"frame {published} was not answered within {timeout_s:g} s")
    return published


def publish_at_rate(
    node: CameraNode, executor: SingleThreadedExecutor, frames: Iterable[RgbdFrame], rate_hz: float
) -> int:
    """Publishes the frames at a rate, or as fast as they come where that is slower.

    Returns:
        How many frames were published.
    """
    published = 0
    next_s = time.monotonic()
    for frame in frames:
        node.publish(frame)
        published += 1
        next_s = max(next_s + 1 / rate_hz, time.monotonic())
        wait_until(lambda: time.monotonic() >= next_s, executor, 1 / rate_hz)  # noqa: B023 - called at once
    return published


def parse(args: list[str]) -> argparse.Namespace:
    """The command line without ROS's own arguments."""
    parser = argparse.ArgumentParser(description="A camera node without a camera.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--frames-dir", type=Path, help="captures to publish: a folder of folders with meta.json")
    source.add_argument("--bag", type=Path, help="rosbag2 to publish (sqlite3 or mcap)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulated tabletop (default: %(default)s)")
    parser.add_argument("--count", type=int, help="frames to publish at most (default: all there are)")
    parser.add_argument("--repeat", action="store_true", help="begin captures and bags anew at their end")
    parser.add_argument("--rate", type=_rate, default=10.0, help="frames a second (default: %(default)s)")
    parser.add_argument("--answers", metavar="TOPIC", help="send each frame after the one before was answered here")
    parser.add_argument("--subscribers", type=int, default=1, help="wait for this many before the first frame")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for subscribers and answers")
    return parser.parse_args(args)


def _rate(text: str) -> float:
    rate_hz = float(text)
    if not 0 < rate_hz < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return rate_hz


def frames_of(options: argparse.Namespace) -> Iterator[RgbdFrame]:
    """The frames that the options ask for."""
    if options.frames_dir is not None:
        source = partial(captured_frames, options.frames_dir)
    elif options.bag is not None:
        source = partial(recorded_frames, options.bag)
    else:
        source = partial(simulated_frames, options.seed, options.rate)
    frames = repeated(source) if options.repeat else source()
    return made_ahead(islice(frames, options.count))


def main(args: list[str] | None = None) -> int:
    """Publishes until the frames end or a signal comes.

    Returns:
        0, or 1 when frames cannot be read, nobody listens or a frame is not answered.
    """
    return run_node(args, parse, lambda options: CameraNode(options.answers), _run)


def _run(node: CameraNode, executor: SingleThreadedExecutor, options: argparse.Namespace) -> int:
    try:
        published = _publish(node, executor, options)
    except (InputError, ValueError, TimeoutError, ImportError) as error:
        node.get_logger().error(str(error))
        return 1
    node.get_logger().info(f"published {published} frame(s)")
    return 0


def _publish(node: CameraNode, executor: SingleThreadedExecutor, options: argparse.Namespace) -> int:
    frames = frames_of(options)
    if options.answers is None:
        return publish_at_rate(node, executor, frames, options.rate)
    if not wait_until(lambda: node.heard_by(options.subscribers), executor, options.timeout):
        raise TimeoutError(
            f"images and answers did not get {options.subscribers} subscriber(s) each within {options.timeout:g} s"
        )
    return publish_in_lockstep(node, executor, frames, options.timeout)


if __name__ == "__main__":
    sys.exit(main())
