"""The families of models that this package reads, and which of them a graph is of."""

from __future__ import annotations

from instance_seg_ros.segmentation.families.family import Family, Fit
from instance_seg_ros.segmentation.families.mask_queries import DETR, MASK2FORMER, MASKFORMER
from instance_seg_ros.segmentation.families.mmdeploy import RTMDET_INS, SOLOV2
from instance_seg_ros.segmentation.families.rf_detr import RF_DETR_SEG
from instance_seg_ros.segmentation.families.signature import Signature
from instance_seg_ros.segmentation.families.torchvision_rcnn import TORCHVISION_MASK_RCNN
from instance_seg_ros.segmentation.families.yolact import YOLACT
from instance_seg_ros.segmentation.families.yolo import YOLO_SEG, YOLO_SEG_END2END

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        YOLO_SEG,
        YOLO_SEG_END2END,
        RF_DETR_SEG,
        RTMDET_INS,
        SOLOV2,
        TORCHVISION_MASK_RCNN,
        MASK2FORMER,
        MASKFORMER,
        DETR,
        YOLACT,
    )
}
"""By name."""


def fits(signature: Signature) -> dict[str, Fit]:
    """How a graph fits each family, by name."""
    return {name: family.fit(signature) for name, family in FAMILIES.items()}
