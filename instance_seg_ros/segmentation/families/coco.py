"""The classes of the COCO data set (Lin et al., ECCV 2014), by the class index of networks trained on it."""

from __future__ import annotations

COCO_CLASS_NAMES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)
"""80 names, in the order of the data set's category ids."""

# Category ids that the data set never used, and 0, which stands for the background.
_UNUSED_IDS = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def by_category_id() -> tuple[str, ...]:
    """91 names by the data set's category id, for networks that count that way; "unused" where it has no class."""
    names = iter(COCO_CLASS_NAMES)
    return tuple("unused" if category in _UNUSED_IDS else next(names) for category in range(91))


def names_of(count: int | None) -> tuple[str, ...]:
    """The data set's names for a network of this many classes, None where it does not tell; or else numbers."""
    if count in (None, len(COCO_CLASS_NAMES)):
        return COCO_CLASS_NAMES
    if count == len(by_category_id()):
        return by_category_id()
    return tuple(f"class {index}" for index in range(count or 0))
