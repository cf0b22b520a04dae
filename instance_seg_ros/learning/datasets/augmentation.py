"""How training varies its frames: the settings. Needs no PyTorch, so that the command line shows them without."""

from __future__ import annotations

from dataclasses import dataclass

from instance_seg_ros.core.settings import Settings, setting


@dataclass(frozen=True)
class AugmentationSettings(Settings):
    """Probabilities and ranges of the augmentation."""

    flip_probability: float = setting(0.5, "Probability of mirroring left and right.", minimum=0.0, maximum=1.0)
    crop_probability: float = setting(0.4, "Probability of zooming into a window.", minimum=0.0, maximum=1.0)
    crop_scale_min: float = setting(1.1, "Least magnification of that window.", minimum=1.0, maximum=10.0)
    crop_scale_max: float = setting(2.0, "Greatest magnification of that window.", minimum=1.0, maximum=10.0)
    letterbox_probability: float = setting(
        0.25, "Probability of shrinking and padding, as for a camera of another shape.", minimum=0.0, maximum=1.0
    )
    letterbox_scale_min: float = setting(
        0.5, "Least size of a shrunk image, as a share of the grid.", minimum=0.1, maximum=1.0
    )
    letterbox_scale_max: float = setting(
        1.0, "Greatest size of a shrunk image, as a share of the grid.", minimum=0.1, maximum=1.0
    )
    min_visible_px: int = setting(
        40, "Objects with fewer visible pixels are ignored: neither object nor background.", minimum=1, maximum=100_000
    )
    min_measured_share: float = setting(
        0.15,
        "Without colour, objects with a smaller share of measured depth are ignored as well.",
        minimum=0.0,
        maximum=1.0,
    )
    color_drop_probability: float = setting(
        0.25, "Probability that a sample loses its colour.", minimum=0.0, maximum=1.0
    )
    depth_drop_probability: float = setting(
        0.02, "Probability that a sample with colour loses its depth.", minimum=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("crop_scale", "letterbox_scale"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low > high:
                raise ValueError(f"{name}_min must not exceed {name}_max, but {low} > {high}")
