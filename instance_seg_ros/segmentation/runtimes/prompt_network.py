"""SAM, SAM 2 and SAM 3's tracker from a folder of transformers: masks at points and in rectangles.

Kirillov et al., *Segment Anything* (ICCV 2023); Ravi et al., *SAM 2* (2024). A point is ambiguous, so that the network
gives three masks for it, of which the one is taken that it thinks best of; a rectangle gives one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from instance_seg_ros.segmentation.families.decoding import output_of_masks
from instance_seg_ros.segmentation.families.image_input import Placement, Sides
from instance_seg_ros.segmentation.model_file import ModelError
from instance_seg_ros.segmentation.postprocessing import NetworkOutput
from instance_seg_ros.segmentation.prompts import OBJECT
from instance_seg_ros.segmentation.runtimes.transformers_folder import (
    WARM_UP_HW,
    ModelFolder,
    runtime_on,
    size_of,
)

SAM_CLASSES = {
    "sam": "SamModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_tracker_video": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
}
"""The class of transformers by `model_type`; those of videos hold the one of images, too."""


class SamNetwork:
    """A promptable model from a folder; as PromptNetwork says.

    Args:
        path: of the folder.
        threads: CPU threads, 0 for PyTorch's own choice.

    Attributes:
        model: of transformers.

    Raises:
        ModelError: the folder or its weights lack a part, its model is no SAM, or it does not run.
    """

    def __init__(self, path: Path, threads: int) -> None:
        folder = ModelFolder(path)
        name = SAM_CLASSES.get(folder.model_type)
        if name is None:
            raise ModelError(
                f"{path} holds a model of the type {folder.model_type!r}, which takes no points; known are "
                f"{', '.join(SAM_CLASSES)}"
            )
        said = folder.processing()
        self._pads = name == "SamModel"
        self._image = folder.image_input(said, "fit" if self._pads else "stretch")
        self._network_wh = _network_wh(said, path, self._pads)
        self.model, self._device = folder.load(name, threads)
        self._digest = b""
        self._embeddings: Any = None
        self.info = folder.info((OBJECT,), score_threshold=0.0, mask_threshold=0.0)
        black = np.zeros((*WARM_UP_HW, 3), dtype=np.uint8)
        folder.try_out(lambda: self(black, np.ones((1, 2), np.float32), np.array([[0, 0, 9, 9]], np.float32)))

    @property
    def backend(self) -> str:
        """The versions and the device."""
        return runtime_on(self._device)

    def __call__(
        self, color_rgb: NDArray[np.uint8], points_xy: NDArray[np.float32], boxes_xyxy: NDArray[np.float32]
    ) -> NetworkOutput:
        """As PromptNetwork says.

        Raises:
            NotFiniteError: the network gives numbers that are none.
        """
        camera_wh = color_rgb.shape[1], color_rgb.shape[0]
        placement = self._image.placement(camera_wh, self._network_wh)
        parts = []
        if len(points_xy):
            parts.append(self._best(color_rgb, placement, {"input_points": points_xy[:, None]}, several=True))
        if len(boxes_xyxy):
            parts.append(self._best(color_rgb, placement, {"input_boxes": boxes_xyxy}, several=False))
        if not parts:
            parts = [(np.zeros((0, 1, 1), np.float32), np.zeros(0, np.float32))]
        masks, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        return output_of_masks(masks, scores, placement)

    def _best(
        self, color_rgb: NDArray[np.uint8], placement: Placement, prompts: Mapping[str, NDArray], several: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The best mask (N, h, w) for each of N prompts, in camera pixels, and its quality (N,)."""
        gain = np.array(placement.gain_xy, dtype=np.float32)
        with torch.inference_mode():
            scaled = {
                name: torch.from_numpy(values * np.tile(gain, values.shape[-1] // 2))[None].to(self._device)
                for name, values in prompts.items()
            }
            outputs = self.model(
                image_embeddings=self._embedded(color_rgb, placement), multimask_output=several, **scaled
            )
            scores: Tensor = outputs.iou_scores[0].float()
            best = scores.argmax(dim=1)
            rows = torch.arange(len(best), device=self._device)
            masks: Tensor = outputs.pred_masks[0].float()
            return masks[rows, best].cpu().numpy(), scores[rows, best].cpu().numpy()

    def _embedded(self, color_rgb: NDArray[np.uint8], placement: Placement) -> Any:
        """What the encoder makes of the image; computed once for one content."""
        shape = str(color_rgb.shape).encode()
        digest = hashlib.blake2b(shape + np.ascontiguousarray(color_rgb).tobytes(), digest_size=16).digest()
        if digest != self._digest:
            self._digest, self._embeddings = b"", None  # first: an image that fails must leave none behind
            image = np.ascontiguousarray(self._image.fed(color_rgb, placement, np.float32)[None])
            self._embeddings = self.model.get_image_embeddings(torch.from_numpy(image).to(self._device))
            self._digest = digest
        # The network of SAM 2 takes the list and may change it.
        return list(self._embeddings) if isinstance(self._embeddings, list) else self._embeddings


def _network_wh(said: Mapping[str, Any], path: Path, pads: bool) -> Sides:
    """The size of the network's image, of the original SAM with what is beside the camera's."""
    size = said.get("pad_size") if pads else size_of(said, path)
    if not isinstance(size, Mapping) or not {"height", "width"} <= size.keys():
        raise ModelError(
            f"{path}/preprocessor_config.json: {'pad_size' if pads else 'size'} must have height and width, not "
            f"{size!r}"
        )
    return int(size["width"]), int(size["height"])
