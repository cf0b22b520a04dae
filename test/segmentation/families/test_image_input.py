"""What a network is fed beside the camera's image."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.segmentation.families.image_input import ImageInput

WHITE = np.full((2, 4, 3), 255, dtype=np.uint8)


@pytest.mark.parametrize(
    ("resize", "fill", "rows"),
    [
        ("fit", 0.0, [[2.0], [2.0], [-3.0], [-3.0]]),  # black: (0 - 0.6) / 0.2
        ("fit", 51.0, [[2.0], [2.0], [-2.0], [-2.0]]),
        ("fit", None, [[2.0], [2.0], [0.0], [0.0]]),  # padded after normalisation, as SAM's and SOLOv2's images are
        ("letterbox", None, [[0.0], [2.0], [2.0], [0.0]]),
        ("stretch", None, [[2.0]] * 4),
    ],
)
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_pixels_beside_the_image(resize: str, fill: float | None, rows: list[list[float]], channels: str) -> None:
    image = ImageInput(None, resize, channels, mean=(0.6,) * 3, std=(0.2,) * 3, fill=fill)
    fed = image.fed(WHITE, image.placement((4, 2), (4, 4)), np.float32)
    assert np.abs(fed - np.array(rows)).max() < 1e-5
