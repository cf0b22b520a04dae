"""Parameters given at startup that no setting of the node reads: they are reported instead of ignored."""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

PARAMETERS_KEY = "ros__parameters"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: the same word on another level, or else the most similar one."""
    names = list(known)
    word = name.rpartition(".")[2]
    same_word = [other for other in names if other.rpartition(".")[2] == word]
    similar = difflib.get_close_matches(name, same_word or names, n=1, cutoff=0.0 if same_word else 0.6)
    by_word = difflib.get_close_matches(word, {other.rpartition(".")[2] for other in names}, n=1, cutoff=0.75)
    if not similar and by_word:
        similar = [other for other in names if other.rpartition(".")[2] == by_word[0]]
    return similar[0] if similar else None


def unknown_text(unknown: Iterable[str], known: Iterable[str]) -> str:
    """A message about names that are unknown; empty if there are none."""
    names = list(known)
    faults = []
    for name in sorted(unknown):
        meant = nearest(name, names)
        cure = f"did you mean {meant}?" if meant else "`ros2 param list` and config/instance_seg.yaml name all"
        faults.append(f"there is no parameter {name}; {cure}")
    return "; ".join(faults)


def parameter_files(arguments: Sequence[str] | None) -> list[str]:
    """The files after `--params-file` among ROS arguments; None stands for those of the process."""
    words = list(sys.argv if arguments is None else arguments)
    return [path for option, path in itertools.pairwise(words) if option == "--params-file"]


def foreign_file_text(path: str, node_name: str) -> str:
    """A message about a parameter file whose sections are all for other nodes; empty if one is for this node.

    Args:
        path: of the file.
        node_name: fully qualified.
    """
    with open(path, encoding="utf-8") as file:
        content = yaml.safe_load(file)
    sections = list(_sections(content)) if isinstance(content, Mapping) else []
    if not sections or any(_matches(section, node_name) for section in sections):
        return ""
    return (
        f"{path} has parameters for {', '.join(sections)} but none for this node, {node_name}; name the section "
        f"{node_name}, or /** for every node"
    )


def _sections(content: Mapping[Any, Any], name: str = "") -> Iterator[str]:
    """Names of the nodes that a parameter file is for, with its wildcards."""
    for key, value in content.items():
        if key == PARAMETERS_KEY:
            yield name
        elif isinstance(value, Mapping):
            yield from _sections(value, f"{name}/{str(key).strip('/')}")


def _matches(section: str, node_name: str) -> bool:
    """Whether rcl gives a section's parameters to a node: * is one part of the name, ** any number of parts."""
    patterns = {"**": r"(/\w+)*", "*": r"/\w+"}
    parts = [patterns.get(part, "/" + re.escape(part)) for part in section.strip("/").split("/")]
    return re.fullmatch("".join(parts), node_name) is not None
