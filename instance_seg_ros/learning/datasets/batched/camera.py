"""Clean frames of a batch to what cameras would have given: the faults of `SceneFrames` and `augment`, on the device.

The workers of the loader then only read, cut out and label frames. The faults have the distributions of the CPU's code,
with one difference: there sensor and prints come before a frame is zoomed or shrunk, and are resampled with it; here
they come after, on the network's grid, and reach into the border around a shrunk frame. The same seed, step and slots
give the same pictures on the same device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from instance_seg_ros.learning.datasets.augmentation import AugmentationSettings
from instance_seg_ros.learning.datasets.batched.color_camera import degraded, misregistered, printed
from instance_seg_ros.learning.datasets.batched.depth_sensor import measured_depth
from instance_seg_ros.learning.datasets.batched.draws import Draws
from instance_seg_ros.learning.datasets.misregistration import MisregistrationSettings
from instance_seg_ros.learning.datasets.photometric import PhotometricSettings
from instance_seg_ros.learning.datasets.prints import PrintSettings
from instance_seg_ros.learning.datasets.training_samples import IGNORE_ID, Batch


@dataclass(frozen=True)
class BatchCamera:
    """Depth sensor, prints, misregistration and colour camera for batches of clean frames.

    Attributes:
        augmentation: how often colour or depth is lost, and which instances count then.
        prints, misregistration, photometric: how much.
    """

    augmentation: AugmentationSettings
    prints: PrintSettings
    misregistration: MisregistrationSettings
    photometric: PhotometricSettings

    @torch.no_grad()
    def __call__(self, clean: Batch, generator: torch.Generator) -> Batch:
        """
        Args:
            clean: B frames with `behind_m` and `cameras`.
            generator: of the batch's device.

        Returns:
            The frames as cameras would have given them, without `behind_m` and `cameras`.
        """
        assert clean.behind_m is not None
        assert clean.cameras is not None
        draws = Draws(len(clean.ids), generator)
        depth_m = measured_depth(
            clean.depth_m[:, 0], clean.behind_m, clean.ids, clean.intrinsics[:, 0], clean.cameras, draws
        )
        seen = depth_m > 0
        color = clean.color_rgb
        has_color = (color > 0).flatten(1).any(dim=1).view(-1, 1, 1)
        picture = printed(color.float(), clean.ids, clean.boxes_xyxy, draws, self.prints)
        picture = misregistered(picture, seen, draws, self.misregistration)
        picture = degraded(picture, draws, self.photometric)
        has_depth = seen.flatten(1).any(dim=1).view(-1, 1, 1)
        keeps_color = has_color & ~(has_depth & draws.happens(self.augmentation.color_drop_probability))
        keeps_depth = ~(keeps_color & draws.happens(self.augmentation.depth_drop_probability))
        depth_m = depth_m * keeps_depth
        ids, boxes = _without_unmeasured(
            clean.ids, clean.boxes_xyxy, depth_m > 0, ~keeps_color, self.augmentation.min_measured_share
        )
        return Batch(
            depth_m=depth_m[:, None],
            intrinsics=clean.intrinsics,
            ids=ids,
            boxes_xyxy=boxes,
            anchors_xy=clean.anchors_xy,
            class_ids=clean.class_ids,
            color_rgb=(picture * keeps_color[:, None]).to(torch.uint8),
        )


def _without_unmeasured(
    ids: Tensor, boxes_xyxy: Tensor, measured: Tensor, applies: Tensor, least_share: float
) -> tuple[Tensor, Tensor]:
    """Ids and boxes; instances that too little is measured of are ignored in images that this applies to (B, 1, 1)."""
    flat = ids.long().flatten(1)
    zeros = torch.zeros(len(ids), IGNORE_ID + 1, device=ids.device)
    areas = zeros.scatter_add(1, flat, torch.ones_like(flat, dtype=zeros.dtype))
    seen = zeros.scatter_add(1, flat, measured.flatten(1).to(zeros.dtype))
    ignored = (seen < least_share * areas) & applies[:, :, 0]
    ignored[:, 0] = False
    numbers = torch.arange(IGNORE_ID + 1, device=ids.device)
    table = torch.where(ignored, IGNORE_ID, numbers).to(ids.dtype)
    kept = ~ignored[:, 1 : boxes_xyxy.shape[1] + 1]
    return table.gather(1, flat).view_as(ids), boxes_xyxy * kept.unsqueeze(2)
