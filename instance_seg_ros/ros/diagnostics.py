"""What the node publishes on /diagnostics: its inputs, processing, outputs and model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.ros.clocks import NO_CLOCK_TEXT, clock_stands
from instance_seg_ros.ros.health import ERROR, OK, WARN, Health, InputReport
from instance_seg_ros.ros.inputs import COLOR, COLOR_INFO, DEPTH, Inputs
from instance_seg_ros.ros.problem_log import ProblemLog
from instance_seg_ros.ros.settings import NodeSettings
from instance_seg_ros.segmentation import ModelInfo
from instance_seg_ros.segmentation.families.stuff import walls_among_objects

BACKEND_LOG_PERIOD_S = 10.0


@dataclass(frozen=True, eq=False)
class NodeState:
    """The node at one time.

    Attributes:
        label: its lifecycle state.
        settings: the node's own settings.
        inputs: None unless it subscribes.
        pipeline: None unless it is configured.
        configure_failure: why the last configure failed, None when it did not.
        frames: how many were received and what became of them.
        registration: the pose by which depth is registered to colour here; empty where it comes registered.
        corrected: the images that lens distortion is taken out of, in words; empty for none.
        subscribers: number of subscribers of each output, by topic.
    """

    label: str
    settings: NodeSettings
    inputs: Inputs | None
    pipeline: Pipeline | None
    configure_failure: str | None
    frames: Mapping[str, int]
    registration: str
    corrected: str
    subscribers: Mapping[str, int]


def silence_faults(reports: Iterable[InputReport], timeout_s: float) -> list[str]:
    """Why nothing arrives on inputs that have been silent for longer than this, with the cure; empty when none is."""
    silent = [report for report in reports if report.silent_s > timeout_s]
    without_publisher = [report.topic for report in silent if report.publishers == 0]
    unheard = [
        f"{report.topic} ({report.publishers} publisher{'s' if report.publishers > 1 else ''})"
        for report in silent
        if report.publishers > 0
    ]
    faults = []
    if without_publisher:
        faults.append(
            f"nothing publishes on {', '.join(without_publisher)}; start the camera, or remap to the camera's topics"
        )
    if unheard:
        faults.append(f"nothing arrives on {', '.join(unheard)}; do they send, and is their QoS compatible?")
    return faults


def input_faults(state: NodeState) -> list[str]:
    """Why no frames come, in the order in which to look; empty when they come, or when the node does not subscribe."""
    if state.inputs is None:
        return []
    # One CameraInfo serves all frames, so a camera may publish it once, or rarely.
    needed = {COLOR, DEPTH} if state.inputs.matcher.infos.color else {COLOR, DEPTH, COLOR_INFO}
    reports = [report for name, report in state.inputs.reports().items() if name in needed]
    faults = silence_faults(reports, state.settings.input_timeout_s)
    offset_s = state.inputs.matcher.pairer.nearest_offset_s
    if offset_s is not None and abs(offset_s) > state.settings.sync_tolerance_s:
        faults.append(
            f"colour and depth do not meet: the nearest stamps are {abs(offset_s):.3f} s apart (depth is "
            f"{'later' if offset_s > 0 else 'earlier'}) and sync_tolerance_s is "
            f"{state.settings.sync_tolerance_s:g}; let the driver synchronise them, or raise it"
        )
    return faults


class DiagnosticsPublisher:
    """Publishes the diagnostics when asked to.

    Args:
        node: whose state it is.
        state: gives it.
        health: the counters.
        problems: gets a report when no frames come.
    """

    def __init__(self, node: Node, state: Callable[[], NodeState], health: Health, problems: ProblemLog) -> None:
        self._node = node
        self._state = state
        self._health = health
        self._problems = problems
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._logged_backend = ""

    def publish(self) -> None:
        """Publishes one array of all statuses, and logs a backend that is new."""
        state = self._state()
        self._log_backend(state)
        array = DiagnosticArray(
            status=[self._inputs(state), self._processing(state), self._outputs(state), self._model(state)]
        )
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _log_backend(self, state: NodeState) -> None:
        """Logs what runs the network, and logs it again when that changes, as when an engine has been built."""
        backend = state.pipeline.segmenter.backend if state.pipeline is not None else ""
        if backend in ("", self._logged_backend):
            return
        if self._node.get_logger().info(f"backend: {backend}", throttle_duration_sec=BACKEND_LOG_PERIOD_S):
            self._logged_backend = backend

    def _named(self, name: str) -> tuple[str, str]:
        """The name and the hardware id of a status."""
        full_name = self._node.get_fully_qualified_name()
        return f"{full_name.lstrip('/')}: {name}", full_name

    def _inputs(self, state: NodeState) -> DiagnosticStatus:
        if state.inputs is None:
            return status(*self._named("inputs"), OK, f"not subscribed while {state.label}", {})
        faults = input_faults(state)
        if faults:
            self._problems.report("no frames", "; ".join(faults))
        if clock_stands(self._node.get_clock()):
            self._problems.report("no clock", NO_CLOCK_TEXT)
            faults.append(NO_CLOCK_TEXT)
        facts: dict[str, object] = {}
        for input_name, report in state.inputs.reports().items():
            facts[f"{input_name}: topic"] = report.topic
            facts[f"{input_name}: publishers"] = report.publishers
            facts[f"{input_name}: received"] = report.received
            facts[f"{input_name}: rate_hz"] = f"{self._health.rate_hz(input_name):.1f}"
        pairer = state.inputs.matcher.pairer
        facts |= {
            "pairs": pairer.pairs,
            "unpaired colour images": pairer.unpaired_colors,
            "unpaired depth images": pairer.unpaired_depths,
            "depth registered here": state.registration or "no",
            "lens distortion taken out": state.corrected or "none",
        }
        return status(*self._named("inputs"), WARN if faults else OK, "; ".join(faults) or "receiving", facts)

    def _processing(self, state: NodeState) -> DiagnosticStatus:
        condition = self._health.condition()
        facts = {
            "state": state.label,
            "enabled": state.settings.enabled,
            **state.frames,
            **condition.facts,
        }
        return status(*self._named("processing"), condition.level, condition.message, facts)

    def _outputs(self, state: NodeState) -> DiagnosticStatus:
        return status(*self._named("outputs"), OK, "subscribers by topic", state.subscribers)

    def _model(self, state: NodeState) -> DiagnosticStatus:
        segmenter = state.pipeline.segmenter if state.pipeline is not None else None
        return model_status(
            *self._named("model"),
            state.label,
            segmenter.info if segmenter is not None else None,
            state.configure_failure,
            segmenter.backend if segmenter is not None else "",
        )


def model_status(
    name: str, hardware_id: str, state: str, info: ModelInfo | None, failure: str | None, backend: str
) -> DiagnosticStatus:
    """The model and the node's lifecycle state; ERROR with the reason after a configure that failed.

    WARN where the model counts classes as objects that hardly are.
    """
    facts: dict[str, object] = {"state": state}
    if info is not None:
        facts |= {
            "model": f"{info.name} {info.version}",
            "digest": info.digest,
            "classes": ", ".join(info.class_names),
            "backend": backend,
        }
    if failure is not None:
        return status(name, hardware_id, ERROR, failure, facts)
    if info is not None and (warning := walls_among_objects(info)):
        return status(name, hardware_id, WARN, warning, facts)
    return status(name, hardware_id, OK, state, facts)


def status(name: str, hardware_id: str, level: bytes, message: str, facts: Mapping[str, object]) -> DiagnosticStatus:
    """A DiagnosticStatus with the facts as text."""
    values = [KeyValue(key=key, value=str(value)) for key, value in facts.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id, values=values)
