"""The settings as ROS parameters, declared with type, default, range and help; a change is validated, then applied."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from instance_seg_ros.core.parameters import PipelineSettings, stages
from instance_seg_ros.core.settings import Setting, SettingValue, describe, fields_of
from instance_seg_ros.ros.overrides import unknown_text
from instance_seg_ros.ros.settings import NodeSettings, all_parameters, settings_of

UNCONFIGURED, INACTIVE, ACTIVE = "unconfigured", "inactive", "active"

# Parameters that take effect only when the model is loaded or the inputs are subscribed; all others do at once.
_SETTABLE_UNCONFIGURED = ("model_path", "fixed_frame", "level_frame", "segmentation.")
_SETTABLE_INACTIVE = ("color_transport", "depth_transport", "input_reliability", "rectified_inputs", "sync_tolerance_s")
_OF_RESULTS = (
    "model_path",
    "fixed_frame",
    "level_frame",
    "rectified_inputs",
    "sync_tolerance_s",
    "depth_camera_pose",
)
"""The node's own settings that make a difference to the numbers of an object, or to its id."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """All settings of the node at one time."""

    node: NodeSettings
    pipeline: PipelineSettings


def changed(old: Configuration, new: Configuration) -> dict[str, SettingValue]:
    """The old values of what is not equal in two configurations and makes a difference to results, by parameter."""
    before: dict[str, SettingValue] = {}
    for stage, kind in stages().items():
        own, other = getattr(old.pipeline, stage), getattr(new.pipeline, stage)
        for field in fields_of(kind):
            if getattr(own, field.name) != getattr(other, field.name):
                before[f"{stage}.{field.name}"] = getattr(own, field.name)
    for name in _OF_RESULTS:
        if getattr(old.node, name) != getattr(new.node, name):
            before[name] = getattr(old.node, name)
    return before


class NodeParameters:
    """Declares the parameters on a node and keeps `current` in step with them.

    Args:
        node: the node that gets the parameters.
        state: gives the label of the node's lifecycle state, for what may not change while it runs.
        applied: called with the old and the new configuration after each accepted change, and each `read_again`.

    Raises:
        ValueError: naming a startup value that a setting does not allow, or that no setting reads.
    """

    def __init__(
        self, node: Node, state: Callable[[], str], applied: Callable[[Configuration, Configuration], None]
    ) -> None:
        self._node = node
        self._state = state
        self._applied = applied
        for name, field in all_parameters().items():
            node.declare_parameter(name, field.default, descriptor(name, field))
        given = node._parameter_overrides  # rclpy has no public name for the parameters that were given at startup
        fault = self.unknown_text(name for name in given if not node.has_parameter(name))
        if fault:
            raise ValueError(fault)
        self.current = self._with([])
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._apply)

    @staticmethod
    def unknown_text(names: Iterable[str]) -> str:
        """A message about names that no parameter has, with the nearest known ones; empty if there are none."""
        return unknown_text(names, all_parameters())

    def read_again(self) -> Configuration:
        """The present configuration, after the files that parameters name were read again where they were changed.

        Raises:
            ValueError: such a file is none any more.
        """
        old, self.current = self.current, self._with([])
        self._applied(old, self.current)
        return self.current

    def _with(self, changes: Sequence[Parameter]) -> Configuration:
        values = {name: self._node.get_parameter(name).value for name in all_parameters()}
        values |= {change.name: change.value for change in changes if change.name in values}
        return Configuration(*settings_of(values))

    def _validate(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            self._with(changes)
            for change in changes:
                if change.value != self._node.get_parameter(change.name).value:
                    self._check_state(change.name)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _check_state(self, name: str) -> None:
        state = self._state()
        if name.startswith(_SETTABLE_UNCONFIGURED) and state != UNCONFIGURED:
            raise ValueError(f"{name} takes effect at configure and the node is {state}: deactivate and clean up first")
        if name in _SETTABLE_INACTIVE and state not in (UNCONFIGURED, INACTIVE):
            raise ValueError(f"{name} takes effect at activate and the node is {state}: deactivate it first")

    def _apply(self, changes: list[Parameter]) -> None:
        if any(change.name in all_parameters() for change in changes):
            old, self.current = self.current, self._with([])
            self._applied(old, self.current)


def descriptor(name: str, field: Setting) -> ParameterDescriptor:
    """The descriptor that `ros2 param describe` and rqt show."""
    result = ParameterDescriptor(name=name, description=describe(field), read_only=name == "autostart")
    if field.type is int:
        result.integer_range = [IntegerRange(from_value=int(field.minimum), to_value=int(field.maximum), step=0)]  # type: ignore[arg-type]
    elif field.type is float:
        result.floating_point_range = [FloatingPointRange(from_value=field.minimum, to_value=field.maximum, step=0.0)]
    return result
