"""Stands in for the Python bindings of TensorRT for RTX: those of TensorRT, and what it has besides."""

from __future__ import annotations

import enum
from typing import Any

import tensorrt
from tensorrt import *  # noqa: F403
from tensorrt import INetworkDefinition

__version__ = "1.7.1.116"


class ComputeCapability(enum.Enum):
    SM86 = 86
    SM89 = 89


class IBuilderConfig(tensorrt.IBuilderConfig):
    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self._capabilities: list[ComputeCapability | None] = []

    @property
    def num_compute_capabilities(self) -> int:
        return len(self._capabilities)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self._capabilities = [None] * count

    def set_compute_capability(self, compute_capability: ComputeCapability, index: int) -> bool:
        self._capabilities[index] = compute_capability
        return True


class Builder(tensorrt.Builder):
    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
        assert config._capabilities and None not in config._capabilities
        return super().build_serialized_network(network, config)
