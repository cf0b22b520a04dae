"""Writes docs/images/demo.webp: the demo's simulated table as the node's overlay shows it, as an animation.

    source env.sh
    python scripts/demo_animation.py

Run it again when the shipped model or the overlay changes; it takes a minute or two. The scene is that of `make demo`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
from PIL import Image
from tqdm import tqdm

from instance_seg_ros.learning.synthetic.tabletop import SimulatedTabletop
from instance_seg_ros.pipeline import Pipeline
from instance_seg_ros.results.overlay import draw_overlay

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ = 5.0
SIZE_WH = (560, 420)
QUALITY = 60


def pictures(count: int) -> Iterator[Image.Image]:
    """The overlays of the first `count` frames, resized to `SIZE_WH`."""
    pipeline = Pipeline.from_settings()
    for simulated in tqdm(islice(SimulatedTabletop(seed=0, rate_hz=RATE_HZ), count), total=count, unit="frame"):
        overlay_rgb = draw_overlay(pipeline.run(simulated.frame))
        yield Image.fromarray(cv2.resize(overlay_rgb, SIZE_WH, interpolation=cv2.INTER_AREA))


def main(arguments: list[str] | None = None) -> None:
    """Writes the animation."""
    parser = argparse.ArgumentParser(description="Writes an animation of the demo's simulated table.")
    parser.add_argument("--frames", type=int, default=60, help="how many, %(default)s by default")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "demo.webp", help="file to write")
    args = parser.parse_args(arguments)
    first, *others = pictures(args.frames)
    first.save(
        args.out, save_all=True, append_images=others, duration=round(1000 / RATE_HZ), loop=0, quality=QUALITY, method=6
    )
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
