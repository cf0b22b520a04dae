"""Writes frames of a scene store as a data set in COCO's instance format, with depth beside the images.

python -m instance_seg_ros.training.coco_export STORE FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from instance_seg_ros.storage.captures import DEFAULT_DEPTH_UNIT_M, write_image
from instance_seg_ros.storage.files import write_atomically
from instance_seg_ros.synthetic.store import SceneStore, open_store
from instance_seg_ros.training.coco_data import AGNOSTIC_CLASS_NAMES

INSTANCES_NAME, IMAGES_NAME, DEPTH_NAME = "instances.json", "images", "depth"


def write_coco(store: SceneStore, folder: Path, progress: bool = False) -> None:
    """Writes instances.json, images/ and depth/ (16-bit PNG in millimetres, exact but for rounding) into `folder`.

    Args:
        store: with colour.
        folder: made when missing.
        progress: show a progress bar.

    Raises:
        OSError: a file cannot be written.
        ValueError: the store has no colour.
    """
    if store.color is None:
        raise ValueError("a COCO data set needs colour images; generate the store with --color")
    for name in (IMAGES_NAME, DEPTH_NAME):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for frame in tqdm(store.frames.tolist(), unit="image", disable=not progress):
        name = f"{frame:06d}.png"
        write_image(folder / IMAGES_NAME / name, cv2.cvtColor(store.color[frame], cv2.COLOR_RGB2BGR))
        units = np.rint(store.depth_m(frame) / DEFAULT_DEPTH_UNIT_M).astype(np.uint16)
        write_image(folder / DEPTH_NAME / name, units)
        height, width = units.shape
        camera = dict(zip(("fx", "fy", "cx", "cy"), store.intrinsics[frame].tolist(), strict=True))
        images.append({"id": frame, "file_name": name, "width": width, "height": height, **camera})
        annotations += _annotations(store.ids[frame], frame, len(annotations) + 1)
    categories = [{"id": index, "name": name} for index, name in enumerate(AGNOSTIC_CLASS_NAMES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    # Last, because a folder with this file is a whole data set.
    write_atomically(folder / INSTANCES_NAME, json.dumps(content).encode())


def _annotations(ids: np.ndarray, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """One annotation for each object of an id image."""
    annotations = []
    for offset, value in enumerate(np.unique(ids[ids > 0]).tolist()):
        rle = coco_mask.encode(np.asfortranarray(ids == value).astype(np.uint8))
        annotations.append(
            {
                "id": first_id + offset,
                "image_id": image_id,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
                "area": int(coco_mask.area(rle)),
                "bbox": coco_mask.toBbox(rle).tolist(),
            }
        )
    return annotations


def main(arguments: list[str] | None = None) -> None:
    """Writes the data set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Writes a scene store with colour as a COCO data set.")
    parser.add_argument("store", type=Path, help="written by `instance-seg synth --color`")
    parser.add_argument("folder", type=Path, help="made when missing")
    args = parser.parse_args(arguments)
    try:
        write_coco(open_store(args.store), args.folder, progress=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"wrote {args.folder / INSTANCES_NAME}, {IMAGES_NAME}/ and {DEPTH_NAME}/")


if __name__ == "__main__":
    main()
