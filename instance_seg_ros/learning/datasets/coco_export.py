"""Writes frames of a scene store, as a camera sees them, as a data set in COCO's instance format with depth beside it.

python -m instance_seg_ros.learning.datasets.coco_export STORE FOLDER
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from faster_coco_eval.core import mask as coco_mask
from numpy.typing import NDArray
from tqdm import tqdm

from instance_seg_ros.files.atomic import write_atomically
from instance_seg_ros.files.captures import DEFAULT_DEPTH_UNIT_M, write_image
from instance_seg_ros.learning.datasets.coco_data import AGNOSTIC_CLASS_NAMES
from instance_seg_ros.learning.datasets.labelled_frames import store_frames
from instance_seg_ros.learning.synthetic.store import open_store

INSTANCES_NAME, IMAGES_NAME, DEPTH_NAME = "instances.json", "images", "depth"


def write_coco(store: Path, folder: Path, seed: int = 1, progress: bool = False) -> None:
    """Writes instances.json, images/ and depth/ (16-bit PNG in millimetres) into `folder`.

    Each frame passes a random depth sensor and a random colour camera, as in `instance-seg eval --data`. Objects too
    small to be asked for there are regions that count neither as object nor as background here (`iscrowd`).

    Args:
        store: folder of a scene store with colour.
        folder: made when missing.
        seed: of sensors and cameras.
        progress: show a progress bar.

    Raises:
        OSError: there is no store, or a file cannot be written.
        ValueError: the store has no colour, or is not whole.
    """
    opened = open_store(store)
    if opened.color is None:
        raise ValueError("a COCO data set needs colour images; generate the store with --color")
    for name in (IMAGES_NAME, DEPTH_NAME):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    frames = store_frames(store, limit=0, seed=seed)
    for image_id, source in enumerate(tqdm(frames, total=len(opened), unit="image", disable=not progress)):
        name, camera = f"{source.name}.png", source.frame.intrinsics
        write_image(folder / IMAGES_NAME / name, cv2.cvtColor(source.frame.color_rgb, cv2.COLOR_RGB2BGR))
        units = np.rint(source.frame.depth_m / DEFAULT_DEPTH_UNIT_M).astype(np.uint16)
        write_image(folder / DEPTH_NAME / name, units)
        images.append({"id": image_id, "file_name": name, **asdict(camera)})
        annotations += [
            _annotation(mask, len(annotations) + 1 + index, image_id) for index, mask in enumerate(source.truth.masks)
        ]
        if source.ignored.any():
            annotations.append({**_annotation(source.ignored, len(annotations) + 1, image_id), "iscrowd": 1})
    categories = [{"id": index, "name": name} for index, name in enumerate(AGNOSTIC_CLASS_NAMES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    # Last, because a folder with this file is a whole data set.
    write_atomically(folder / INSTANCES_NAME, json.dumps(content).encode())


def _annotation(mask: NDArray[np.bool_], annotation_id: int, image_id: int) -> dict[str, Any]:
    """Of a mask (H, W)."""
    rle = coco_mask.encode(np.asfortranarray(mask).astype(np.uint8))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
        "area": int(coco_mask.area(rle)),
        "bbox": coco_mask.toBbox(rle).tolist(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Writes the data set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Writes a scene store with colour as a COCO data set.")
    parser.add_argument("store", type=Path, help="written by `instance-seg synth --color`")
    parser.add_argument("folder", type=Path, help="made when missing")
    args = parser.parse_args(arguments)
    try:
        write_coco(args.store, args.folder, progress=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"wrote {args.folder / INSTANCES_NAME}, {IMAGES_NAME}/ and {DEPTH_NAME}/")


if __name__ == "__main__":
    main()
