"""What a network is fed beside the camera's image."""

from __future__ import annotations

import numpy as np
import pytest

from instance_seg_ros.segmentation.families.image_input import ImageInput

WHITE = np.full((2, 4, 3), 255, dtype=np.uint8)


@pytest.mark.parametrize(
    ("own_wh", "multiple", "sides", "expected"),
    [
        ((800, 600), 1, (None, None), (800, 600)),  # what the family is used with
        ((800, 600), 1, (512, None), (512, 600)),
        ((800, 600), 1, (512, 384), (512, 384)),  # of the graph itself
        (None, 1, (None, None), (641, 480)),  # the camera's
        (None, 32, (None, None), (672, 480)),
        (None, 32, (512, None), (512, 480)),
    ],
)
def test_a_graph_that_takes_any_size_gets_that_of_its_family_or_of_the_camera(
    own_wh: tuple[int, int] | None, multiple: int, sides: tuple[int | None, int | None], expected: tuple[int, int]
) -> None:
    assert ImageInput(own_wh, "stretch", multiple=multiple).network_wh((641, 480), sides) == expected


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
