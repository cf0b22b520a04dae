"""The tables of topics and services in the documentation against the node as ROS itself sees it."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("rclpy")

NODE, NAMESPACE = "instance_seg", "/"
EVERY_NODE_HAS = {"/rosout", "/parameter_events", f"/{NODE}/transition_event"}
EVERY_LIFECYCLE_NODE_SERVES = ("lifecycle_msgs/", "rcl_interfaces/", "type_description_interfaces/")


def own(names_and_types: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    return {name: types for name, types in names_and_types if name not in EVERY_NODE_HAS}


def documented(endpoints: tuple[Any, ...]) -> dict[str, list[str]]:
    return {
        endpoint.name.replace("~", f"/{NODE}"): [endpoint.type]
        for endpoint in endpoints
        if find_spec(endpoint.type.split("/")[0]) is not None  # outputs of packages that are not installed are left out
    }


def test_the_documented_topics_and_services_are_those_of_the_node(stage: Any, documentation: ModuleType) -> None:
    graph = stage.probe
    # Nodes learn of each other's entities one by one; services, which need two of them, come last.
    stage.wait(
        lambda: (
            len(own(graph.get_subscriber_names_and_types_by_node(NODE, NAMESPACE))) >= len(documentation.INPUTS)
            and {name for name, _ in graph.get_service_names_and_types_by_node(NODE, NAMESPACE)}
            >= documented(documentation.SERVICES).keys()
        ),
        "the probe to know the node",
    )
    inputs = graph.get_subscriber_names_and_types_by_node(NODE, NAMESPACE)
    outputs = graph.get_publisher_names_and_types_by_node(NODE, NAMESPACE)
    services = [
        (name, types)
        for name, types in graph.get_service_names_and_types_by_node(NODE, NAMESPACE)
        if not types[0].startswith(EVERY_LIFECYCLE_NODE_SERVES)
    ]
    assert own(inputs) == documented(documentation.INPUTS)
    assert own(outputs) == documented(documentation.OUTPUTS)
    assert own(services) == documented(documentation.SERVICES)
