"""Random outputs of networks, and what is common to the references that the families are held against.

The references are written from each family's definition with loops, PyTorch's functions and double precision, and share
no code with the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from instance_seg_ros.segmentation.families.family import Family, Reading
from instance_seg_ros.segmentation.postprocessing import to_instances


@dataclass
class Found:
    """An object that a reference finds, in the camera's pixels."""

    box_xyxy: np.ndarray
    score: float
    class_id: int
    mask: np.ndarray


@dataclass(frozen=True)
class Camera:
    """A camera's image inside a network's, by the definition of the rule.

    Attributes:
        rule: "stretch", "fit" or "letterbox".
    """

    size_wh: tuple[int, int]
    network_wh: tuple[int, int]
    rule: str

    def _gain_and_offset(self) -> tuple[np.ndarray, np.ndarray]:
        camera, network = np.array(self.size_wh, float), np.array(self.network_wh, float)
        if self.rule == "stretch":
            return network / camera, np.zeros(2)
        inner = np.round(camera * (network / camera).min())
        offset = np.floor((network - inner) / 2) if self.rule == "letterbox" else np.zeros(2)
        return inner / camera, offset

    def box(self, network_xyxy: np.ndarray) -> np.ndarray:
        """A box in the camera's pixels."""
        gain, offset = self._gain_and_offset()
        return (np.asarray(network_xyxy, float) - np.tile(offset, 2)) / np.tile(gain, 2)

    def sampled(self, grid: np.ndarray) -> np.ndarray:
        """Values (h, w) that cover the network's image, bilinear at the camera's pixel centres (H, W)."""
        gain, offset = self._gain_and_offset()
        cells = np.array(grid.shape[::-1], float) / self.network_wh
        (width, height) = self.size_wh
        x = ((np.arange(width) + 0.5) * gain[0] + offset[0]) * cells[0] - 0.5
        y = ((np.arange(height) + 0.5) * gain[1] + offset[1]) * cells[1] - 0.5
        return map_coordinates(grid.astype(float), np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")

    def cropped(self, mask: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
        """The mask where the column is at least x0 and below x1, and the row likewise."""
        rows, columns = np.indices(mask.shape)
        x0, y0, x1, y1 = box_xyxy
        return mask & (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)


SIZES_WH = [(640, 480), (479, 641), (97, 333)]


@pytest.fixture(params=SIZES_WH, ids=lambda size: f"{size[0]}x{size[1]}")
def size_wh(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Sizes of cameras: larger than the networks', and odd."""
    return request.param


@pytest.fixture
def camera_in() -> type[Camera]:
    """Makes a camera in a network's image."""
    return Camera


@pytest.fixture
def found() -> type[Found]:
    """Makes a reference's object."""
    return Found


@pytest.fixture
def blobs() -> Callable[..., np.ndarray]:
    """Random smooth fields (count, h, w) with mean 0 and standard deviation 3: logits of odd shapes with holes."""

    def make(count: int, height: int, width: int, seed: int = 0, sigma: float = 3.0) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(size=(count, height, width))
        fields = np.stack([gaussian_filter(field, sigma) for field in noise]) if count else noise
        return (fields / max(fields.std(), 1e-9) * 3).astype(np.float32) if count else fields.astype(np.float32)

    return make


@pytest.fixture
def check() -> Callable[..., None]:
    """Holds a family's decoding against what a reference finds, best first."""

    def compare(
        family: Family,
        outputs: dict[str, np.ndarray],
        reading: Reading,
        expected: list[Found],
        box_of_mask: bool = False,
    ) -> None:
        names = tuple(map(str, range(reading.class_count)))
        output = family.decode(outputs, reading)
        order = np.argsort(-output.scores, kind="stable")
        assert output.class_ids[order].tolist() == [one.class_id for one in expected]
        assert output.scores[order] == pytest.approx([one.score for one in expected], abs=1e-3)
        if not box_of_mask:
            boxes = np.array([one.box_xyxy for one in expected]).reshape(-1, 4)
            assert np.abs(output.boxes_xyxy[order] - boxes).max(initial=0) < 0.5
        instances = to_instances(
            output, reading.placement.camera_wh, names, 0.0, family.mask_threshold, 10_000, 1, overlapping=True
        )
        with_mask = [one for one in expected if one.mask.any()]
        assert len(instances) == len(with_mask)
        for mask, one in zip(instances.masks, with_mask, strict=True):
            assert (mask & one.mask).sum() / (mask | one.mask).sum() > 0.99

    return compare
