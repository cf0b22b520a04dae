"""The node's subscriptions: QoS, transports, and the matching of what arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import (
    PublisherEventCallbacks,
    QoSMessageLostInfo,
    QoSOfferedIncompatibleQoSInfo,
    QoSRequestedIncompatibleQoSInfo,
    SubscriptionEventCallbacks,
)
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.subscription import Subscription
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from instance_seg_ros.messages.incoming import CameraInfos, MessageMatcher, RgbdMessages
from instance_seg_ros.ros.health import Health, InputReport
from instance_seg_ros.ros.middleware import DroppedPackets, cure_of_full_buffers, cure_of_loss
from instance_seg_ros.ros.settings import AUTO_RELIABILITY, NodeSettings

Report = Callable[[str, str], None]
"""Called with the short name and the text of a problem."""

COLOR, DEPTH, COLOR_INFO, DEPTH_INFO = "color", "depth", "camera_info", "depth_camera_info"
QUEUE_DEPTH = 5
KEPT_QOS = QoSProfile(
    depth=QUEUE_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""For messages that a publisher keeps for late subscribers."""

_TRANSPORT_TYPES = {"raw": Image, "compressed": CompressedImage, "compressedDepth": CompressedImage}


class Inputs:
    """Subscribes when made, until `close`.

    Attributes:
        matcher: matches what arrives.
        names: the full topic name of each input.

    Args:
        node: the node that subscribes; names are below its own.
        settings: transports, reliability and tolerance.
        health: counts what arrives.
        on_messages: called with each matched set of messages, in the executor's thread.
        report: called when an input's QoS does not fit.
        guard: wraps every callback, so that an exception in one ends nothing.
        infos: what is known of the cameras from an earlier subscription.
        record: called with the topic and each message that comes.
    """

    def __init__(
        self,
        node: Node,
        settings: NodeSettings,
        health: Health,
        on_messages: Callable[[RgbdMessages], None],
        report: Report,
        guard: Callable[[Callable[[Any], None]], Callable[[Any], None]],
        infos: CameraInfos | None = None,
        record: Callable[[str, Any], None] = lambda topic, message: None,
    ) -> None:
        self._node = node
        self._record = record
        self._health = health
        self._on_messages = on_messages
        self._report = report
        self._guard = guard
        self._lock = threading.Lock()
        self._closed = False
        self._dropped = DroppedPackets()
        self.matcher = MessageMatcher(settings.sync_tolerance_s, settings.rectified_inputs, infos)
        # The infos first: of two waiting messages, the executor takes the one of the older subscription.
        topics: dict[str, tuple[str, type, Callable[[Any], None]]] = {
            COLOR_INFO: ("~/color/camera_info", CameraInfo, self._on_color_info),
            DEPTH_INFO: ("~/depth/camera_info", CameraInfo, self._on_depth_info),
            COLOR: (
                _image_topic(node, "~/color/image_raw", settings.color_transport),
                _TRANSPORT_TYPES[settings.color_transport],
                self._on_color,
            ),
            DEPTH: (
                _image_topic(node, "~/depth/image_raw", settings.depth_transport),
                _TRANSPORT_TYPES[settings.depth_transport],
                self._on_depth,
            ),
        }
        self._topics = topics
        self._follows_reliability = settings.input_reliability == AUTO_RELIABILITY
        reliable = settings.input_reliability == "reliable"
        # Before the first subscription, to which a message may come while the others are made.
        self.names = {name: node.resolve_topic_name(topic) for name, (topic, _, _) in topics.items()}
        self._subscriptions = {name: self._subscription(name, reliable) for name in topics}
        self.follow_publishers()

    def close(self) -> None:
        """Unsubscribe."""
        with self._lock:
            self._closed = True
            for subscription in self._subscriptions.values():
                self._node.destroy_subscription(subscription)
            self._subscriptions.clear()

    def follow_publishers(self) -> None:
        """Adapts the subscriptions to what the present publishers offer, and reports what the operating system dropped.

        To be called now and then.
        """
        self._report_dropped()
        self._look_for_latched()
        if self._follows_reliability:
            self._follow_reliability()

    def _report_dropped(self) -> None:
        dropped = self._dropped.since_last_look()
        if dropped:
            self._report(
                "dropped packets",
                f"the operating system dropped {dropped} packet(s) for this process, and images with them, because the "
                f"buffers of its sockets were full; {cure_of_full_buffers(get_rmw_implementation_identifier())}",
            )

    def _look_for_latched(self) -> None:
        """Subscribes to what a publisher of a CameraInfo keeps for late subscribers, where one does (transient local).

        Subscribing so always would make every other publisher warn of an incompatible QoS.
        """
        for name, take in ((COLOR_INFO, self._on_kept_color_info), (DEPTH_INFO, self._on_kept_depth_info)):
            with self._lock:
                if self._closed or f"kept {name}" in self._subscriptions:
                    continue
                topic = self._subscriptions[name].topic_name
                durabilities = [info.qos_profile.durability for info in self._node.get_publishers_info_by_topic(topic)]
                if DurabilityPolicy.TRANSIENT_LOCAL in durabilities:
                    self._subscriptions[f"kept {name}"] = self._node.create_subscription(
                        CameraInfo,
                        topic,
                        self._guard(take),
                        KEPT_QOS,
                        event_callbacks=subscription_events(topic, self._report),
                    )

    def _follow_reliability(self) -> None:
        """Subscribes to a topic reliably where every publisher of it is reliable, best effort where one is not.

        What does not fit into a driver's shared memory gets lost; reliable publishers then send it again. A topic
        without a publisher stays as it is.
        """
        for name in self._topics:
            with self._lock:
                if self._closed:
                    return
                subscription = self._subscriptions[name]
                publishers = self._node.get_publishers_info_by_topic(subscription.topic_name)
                offered = {publisher.qos_profile.reliability for publisher in publishers}
                reliable = offered == {ReliabilityPolicy.RELIABLE}
                is_reliable = subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
                if offered and reliable != is_reliable:
                    self._node.destroy_subscription(subscription)
                    self._subscriptions[name] = self._subscription(name, reliable)

    def _subscription(self, name: str, reliable: bool) -> Subscription:
        topic, message_type, callback = self._topics[name]
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=QUEUE_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        events = subscription_events(self._node.resolve_topic_name(topic), self._report)
        return self._node.create_subscription(message_type, topic, self._guard(callback), qos, event_callbacks=events)

    def reports(self) -> dict[str, InputReport]:
        """The state of each input that every frame needs, by name; also after `close`."""
        return {
            name: self._health.input(name, topic, self._node.count_publishers(topic))
            for name, topic in self.names.items()
            if name != DEPTH_INFO
        }

    def _on_color_info(self, info: CameraInfo) -> None:
        self._arrived(COLOR_INFO, info)
        self.matcher.add_color_info(info)

    def _on_depth_info(self, info: CameraInfo) -> None:
        self._arrived(DEPTH_INFO, info)
        self.matcher.add_depth_info(info)

    def _on_kept_color_info(self, info: CameraInfo) -> None:
        if info not in self.matcher.infos.color:  # otherwise it came by the other subscription as well
            self._on_color_info(info)

    def _on_kept_depth_info(self, info: CameraInfo) -> None:
        if info not in self.matcher.infos.depth:
            self._on_depth_info(info)

    def _on_color(self, image: Image | CompressedImage) -> None:
        self._arrived(COLOR, image)
        self._pass_on(self.matcher.add_color(image))

    def _on_depth(self, image: Image | CompressedImage) -> None:
        self._arrived(DEPTH, image)
        self._pass_on(self.matcher.add_depth(image))

    def _arrived(self, name: str, message: Any) -> None:
        self._health.arrived(name)
        self._record(self.names[name], message)

    def _pass_on(self, messages: RgbdMessages | None) -> None:
        if messages is not None:
            self._on_messages(messages)


def _image_topic(node: Node, base: str, transport: str) -> str:
    """A transport's topic, as image_transport names it: the base is remapped, then the transport goes behind it."""
    return base if transport == "raw" else f"{node.resolve_topic_name(base)}/{transport}"


def subscription_events(topic: str, report: Report) -> SubscriptionEventCallbacks:
    """Reports publishers whose QoS does not fit the subscription, and messages that were lost."""

    def incompatible(event: QoSRequestedIncompatibleQoSInfo) -> None:
        report("incompatible QoS", _qos_text(topic, "publisher", event.last_policy_kind))

    def lost(event: QoSMessageLostInfo) -> None:
        report(
            "lost messages",
            f"{event.total_count} message(s) on {topic} were lost on the way; "
            + cure_of_loss(get_rmw_implementation_identifier()),
        )

    return SubscriptionEventCallbacks(incompatible_qos=incompatible, message_lost=lost)


def publisher_events(topic: str, report: Report) -> PublisherEventCallbacks:
    """Reports subscribers whose QoS does not fit the publisher."""

    def incompatible(event: QoSOfferedIncompatibleQoSInfo) -> None:
        report("incompatible QoS", _qos_text(topic, "subscriber", event.last_policy_kind))

    return PublisherEventCallbacks(incompatible_qos=incompatible)


def _qos_text(topic: str, other: str, policy_kind: int) -> str:
    policy = qos_policy_name_from_kind(policy_kind)
    cure = "; set input_reliability to auto" if other == "publisher" and policy == "RELIABILITY" else ""
    return f"a {other} on {topic} has an incompatible QoS ({policy}), nothing passes between it and this node{cure}"
