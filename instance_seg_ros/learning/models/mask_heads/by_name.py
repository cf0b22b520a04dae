"""The mask head that a configuration names."""

from __future__ import annotations

from instance_seg_ros.learning.models.configuration import CondInstConfig
from instance_seg_ros.learning.models.mask_heads.condinst import CondInstHead
from instance_seg_ros.learning.models.mask_heads.interface import MaskHead
from instance_seg_ros.learning.models.mask_heads.kernels import KernelHead
from instance_seg_ros.learning.models.mask_heads.prototypes import PrototypeHead


def make_mask_head(config: CondInstConfig) -> MaskHead:
    """A new one, with the weights that it has for itself."""
    if config.mask_head == "condinst":
        return CondInstHead()
    if config.mask_head == "prototypes":
        return PrototypeHead()
    return KernelHead(config.fpn_channels, len(config.head_strides))
