"""Which topics of a recording are those of the RGB-D camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from instance_seg_ros.bags.names import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, RESULT_NAMESPACE
from instance_seg_ros.bags.storage import BagError

_DEPTH_ENCODINGS = ("16UC1", "32FC1", "mono16")
_RESULTS = ("/overlay", "/label_image", "/panoptic_image", "/camera_info")
"""The node's images, and their camera, which is not that of its inputs where lens distortion is taken out."""


@dataclass(frozen=True)
class BagTopics:
    """The topics of an RGB-D camera in a bag; `depth_info` is None where depth has no CameraInfo of its own."""

    color: str
    color_info: str
    depth: str
    depth_info: str | None = None

    def names(self) -> list[str]:
        """All of them."""
        return [topic for topic in (self.color, self.color_info, self.depth, self.depth_info) if topic is not None]


def find_topics(
    types: Mapping[str, str],
    overrides: Mapping[str, str | None] | None = None,
    encoding_of: Callable[[str], str] = lambda topic: "",
) -> BagTopics:
    """The camera's topics, from their types and names; `overrides` ("color", "depth", "color_info", "depth_info") win.

    Depth that is registered to colour is preferred to other depth, raw images to compressed ones. Where names do not
    decide, the images' encodings do.

    Args:
        types: topic name to message type.
        encoding_of: the `encoding` of an Image topic's images, or the `format` of a CompressedImage's; empty where it
            is not known. Used only where names do not decide.

    Raises:
        BagError: listing the topics, when one is missing, ambiguous or not of a type that fits; there are none.
    """
    if not types:
        raise BagError("the bag has no topics: nothing was recorded, or its list of topics is lost")
    chosen = {key: topic for key, topic in (overrides or {}).items() if topic is not None}
    for key, topic in chosen.items():
        fitting = (CAMERA_INFO,) if key.endswith("_info") else (IMAGE, COMPRESSED_IMAGE)
        if types.get(topic) not in fitting:
            found = "is not in the bag" if topic not in types else f"has the type {types[topic]}"
            raise BagError(f"{topic}, given for {key}, {found}; {_listing(types)}")
    color = chosen.get("color") or _best_image(types, "colour", "--color-topic", _color_rank, encoding_of)
    depth = chosen.get("depth") or _best_image(types, "depth", "--depth-topic", _depth_rank, encoding_of)
    color_info = chosen.get("color_info") or _info_of(color, types)
    if color_info is None:
        raise BagError(f"found no CameraInfo of {color}; name it with --color-info-topic; {_listing(types)}")
    return BagTopics(color, color_info, depth, chosen.get("depth_info") or _info_of(depth, types))


def _color_rank(topic: str) -> int | None:
    """How well a name fits a colour image, smaller is better; None when it does not."""
    name = topic.lower()
    parts = set(name.split("/"))
    if _is_result(topic) or any(word in name for word in ("depth", "infra", "confidence", "disparity")):
        return None
    # Of a stereo camera the left image is that of its depth; grey images and the right one are the last resort.
    if any(word in name for word in ("right", "gray", "grey", "mono")):
        return 3
    if "left" in name:
        return 2
    return 0 if parts & {"color", "colour", "rgb"} else 1


def _depth_rank(topic: str) -> int | None:
    """How well a name fits a depth image, smaller is better; None when it does not."""
    name = topic.lower()
    if "depth" not in name or any(word in name for word in ("confidence", "infra")):
        return None
    return 0 if "aligned" in name or "registered" in name else 1


def _best_image(
    types: Mapping[str, str],
    what: str,
    option: str,
    rank: Callable[[str], int | None],
    encoding_of: Callable[[str], str],
) -> str:
    images = [topic for topic, msgtype in types.items() if msgtype in (IMAGE, COMPRESSED_IMAGE)]
    ranks = {topic: fit for topic in images if (fit := rank(topic)) is not None}
    best = _first_of(ranks, types)
    if len(best) != 1:
        unnamed = [topic for topic in images if not _is_result(topic)]
        alike = [topic for topic in best or unnamed if _is_depth(encoding_of(topic)) is (what == "depth")]
        best = _first_of(dict.fromkeys(alike, 0), types) or best
    if not best:
        raise BagError(f"found no {what} image; name it with {option}; {_listing(types)}")
    if len(best) > 1:
        raise BagError(f"several topics may be the {what} image ({', '.join(best)}); choose one with {option}")
    return best[0]


def _is_result(topic: str) -> bool:
    """Whether the node publishes it; its inputs are below its name, too, where nobody renames them."""
    return RESULT_NAMESPACE in topic and topic.rpartition(RESULT_NAMESPACE)[2].startswith(_RESULTS)


def _first_of(ranks: Mapping[str, int], types: Mapping[str, str]) -> list[str]:
    """The topics of the best rank; among equals, those of raw images."""
    keys = {topic: (rank, types[topic] == COMPRESSED_IMAGE) for topic, rank in ranks.items()}
    return sorted(topic for topic, key in keys.items() if key == min(keys.values()))


def _is_depth(encoding: str) -> bool | None:
    """Whether images of this encoding or format hold depth; None where it is not known."""
    return (encoding.startswith(_DEPTH_ENCODINGS) or "compressedDepth" in encoding) if encoding else None


def _info_of(image_topic: str, types: Mapping[str, str]) -> str | None:
    """The CameraInfo beside an image, as image_transport names it, or below it."""
    parts = image_topic.split("/")
    # /camera/color/image_raw/compressed has its CameraInfo at /camera/color/camera_info
    for kept in (len(parts) - 1, len(parts) - 2, len(parts)):
        candidate = "/".join([*parts[:kept], "camera_info"])
        if types.get(candidate) == CAMERA_INFO and not _is_result(candidate):
            return candidate
    return None


def _listing(types: Mapping[str, str]) -> str:
    return "the bag has " + ", ".join(f"{topic} ({msgtype})" for topic, msgtype in sorted(types.items()))
