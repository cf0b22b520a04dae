"""What the node says of its inputs' connections."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.node import Node

from instance_seg_ros.ros import inputs
from instance_seg_ros.ros.health import Health
from instance_seg_ros.ros.settings import NodeSettings


class HastyNode(Node):
    """Whose subscriptions have a message before the next one is made, as with an executor of several threads."""

    def create_subscription(
        self, message_type: type, topic: str, callback: Callable[[Any], None], *rest: Any, **named: Any
    ) -> Any:
        subscription = super().create_subscription(message_type, topic, callback, *rest, **named)
        callback(message_type())
        return subscription


def test_a_message_that_comes_while_the_inputs_are_made_is_taken() -> None:
    """A CameraInfo may come once, and never again."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node, taken = HastyNode("hasty", context=context), []
    made = inputs.Inputs(
        node,
        NodeSettings(),
        Health(),
        lambda messages: None,
        lambda cause, text: None,
        lambda call: call,
        record=lambda topic, message: taken.append(topic),
    )
    assert len(made.matcher.infos.color) == 1
    assert taken[0] == "/hasty/color/camera_info"
    made.close()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    ("middleware", "cure"),
    [
        ("rmw_fastrtps_cpp", "export FASTRTPS_DEFAULT_PROFILES_FILE=/"),
        ("rmw_fastrtps_dynamic_cpp", "export FASTRTPS_DEFAULT_PROFILES_FILE=/"),
        ("rmw_cyclonedds_cpp", "sudo sysctl -w net.core.rmem_max=16777216"),
        ("rmw_cyclonedds_cpp", "export CYCLONEDDS_URI=file:///"),
        ("rmw_zenoh_cpp", "for images rmw_zenoh_cpp may need larger buffers"),
    ],
)
def test_lost_messages_are_told_with_the_cure_of_the_middleware_at_work(
    middleware: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(inputs, "get_rmw_implementation_identifier", lambda: middleware)
    events = inputs.subscription_events("/camera/depth", lambda *words: told.append(words))
    seven: Any = SimpleNamespace(total_count=7)  # rclpy's own cannot be filled from Python
    assert events.message_lost is not None

    events.message_lost(seven)

    [(cause, text)] = told
    assert cause == "lost messages"
    assert text.startswith("7 message(s) on /camera/depth were lost on the way; ")
    assert cure in text
    assert ("Fast DDS" in text) == ("fastrtps" in middleware)


def test_packets_that_the_operating_system_dropped_are_told_in_log_and_diagnostics(
    make_stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs.DroppedPackets, "since_last_look", lambda dropped: 7)
    stage = make_stage()
    stage.start()

    stage.wait(lambda: "dropped 7 packet(s)" in stage.probe.status_text("processing"), "the diagnostics")
    assert stage.log_lines("dropped packets: the operating system dropped 7 packet(s) for this process")
