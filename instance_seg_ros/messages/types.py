"""The message classes of `rosbags` with this project's interfaces among them, for bags without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from instance_seg_ros.messages import foxglove, outgoing

PACKAGE = "instance_seg_ros"


def interface_files() -> list[Path]:
    """The package's .msg files: installed beside the code, or in the checkout that the code is used from.

    Raises:
        FileNotFoundError: when they are in neither place, as with an incomplete installation.
    """
    package_folder = Path(__file__).resolve().parents[1]
    for folder in (package_folder / "interfaces", package_folder.parent / "msg"):
        files = sorted(folder.glob("*.msg"))
        if files:
            return files
    raise FileNotFoundError(
        f"the message definitions are missing from {package_folder / 'interfaces'}; install {PACKAGE} again"
    )


def load_typestore() -> Typestore:
    """ROS 2 Jazzy's types, this package's, and those that Foxglove shows."""
    typestore = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for file in interface_files():
        types.update(get_types_from_msg(file.read_text(), f"{PACKAGE}/msg/{file.stem}"))
    for name, definition in foxglove.DEFINITIONS.items():
        types.update(get_types_from_msg(definition, f"{foxglove.PACKAGE}/msg/{name}"))
    typestore.register(types)
    return typestore


def message_factory(typestore: Typestore) -> outgoing.MessageFactory:
    """Makes messages of the typestore's classes."""

    def make(type_name: str, /, **fields: Any) -> Any:
        return typestore.types[type_name](**fields)

    return make
