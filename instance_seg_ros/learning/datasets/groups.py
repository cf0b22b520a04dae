"""Captures that belong together, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERS_AT_THE_END = "0123456789_-. "


def groups(names: Sequence[str]) -> list[str]:
    """The group of each name: what the names that begin with the same word share, without the numbers at their end.

    >>> groups(["ycb_video_0000_000001", "ycb_video_0001_000001", "mug_red", "mug_white", "tote_2017"])
    ['ycb_video', 'ycb_video', 'mug', 'mug', 'tote']

    A name of numbers alone belongs to the group "".
    """
    words = [_words(name.rstrip(_NUMBERS_AT_THE_END)) for name in names]
    shared: dict[str, list[str]] = {}
    for own in words:
        known = shared.setdefault(own[0], own)
        shared[own[0]] = [word for position, word in enumerate(known) if known[: position + 1] == own[: position + 1]]
    return ["".join(shared[own[0]]).rstrip("_-. ") for own in words]


def _words(name: str) -> list[str]:
    """The words of a name, each with the separator that follows it."""
    return re.findall(r"[^_\-. ]+[_\-. ]*", name + "_") or [""]
