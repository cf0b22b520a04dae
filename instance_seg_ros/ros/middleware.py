"""What the middlewares need so that images get through, and whether the operating system lets them through."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

FASTDDS_PROFILE = Path(__file__).with_name("fastdds_images.xml")
"""Settings of Fast DDS that keep images between processes of one machine from getting lost."""
CYCLONEDDS_PROFILE = Path(__file__).with_name("cyclonedds_images.xml")
"""Settings of Cyclone DDS that keep images from getting lost before this process, as far as Linux grants them."""

_FASTDDS_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_FASTDDS_3_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
_CYCLONEDDS_VARIABLE = "CYCLONEDDS_URI"
PROFILES: Mapping[str, str] = {
    _FASTDDS_VARIABLE: str(FASTDDS_PROFILE),  # of Fast DDS 2: ROS 2 Jazzy
    _FASTDDS_3_VARIABLE: str(FASTDDS_PROFILE),  # ROS 2 Kilted and newer
    _CYCLONEDDS_VARIABLE: f"file://{CYCLONEDDS_PROFILE}",
}
"""Environment variables that name these settings, each read by one middleware when the first node is made."""

RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024
"""What the profile of Cyclone DDS asks for."""
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
_INODE, _DROPS = 9, 12
"""Columns of /proc/net/udp."""


def with_profiles(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with these settings of every middleware; what the user has set stays."""
    return {**PROFILES, **environment}


def cure_of_loss(middleware: str) -> str:
    """What helps against lost images, by the identifier of the middleware at work."""
    if "fastrtps" in middleware:
        return (
            "for images within one machine Fast DDS needs more shared memory in the camera's process: there, export "
            f"{_FASTDDS_VARIABLE}={FASTDDS_PROFILE} (from Kilted on {_FASTDDS_3_VARIABLE})"
        )
    if "cyclonedds" in middleware:
        return cure_of_full_buffers(middleware)
    return f"for images {middleware} may need larger buffers (README, Lost images)"


def cure_of_full_buffers(middleware: str) -> str:
    """What makes the receiving sockets' buffers larger: the operating system's leave, and the middleware's wish."""
    granted = f" (now {_RMEM_MAX.read_text().strip()})" if _RMEM_MAX.exists() else ""
    leave = f"sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}{granted}"
    names = {"fastrtps": _FASTDDS_VARIABLE, "cyclonedds": _CYCLONEDDS_VARIABLE}
    wishes = [
        f"export {name}={PROFILES[name]} (the launch files do)" for key, name in names.items() if key in middleware
    ]
    return ", and then start the node with ".join([leave, *wishes])


class DroppedPackets:
    """What the kernel dropped because a buffer of a receiving UDP socket of this process was full.

    Of a best-effort image one lost packet loses all, and Cyclone DDS reports none of it. Counted on Linux only.

    Args:
        process: the process's folder in /proc.
    """

    def __init__(self, process: Path = Path("/proc/self")) -> None:
        self._process = process
        self._counted: dict[str, int] = {}

    def since_last_look(self) -> int:
        """How many were dropped since the last look; at the first one, since the sockets were opened."""
        drops = self._drops_by_socket()
        new = sum(max(0, count - self._counted.get(inode, 0)) for inode, count in drops.items())
        self._counted = drops
        return new

    def _drops_by_socket(self) -> dict[str, int]:
        """The count of each of the process's UDP sockets that dropped any, by inode; empty where /proc has none."""
        drops = {}
        for name in ("udp", "udp6"):
            table = self._process / "net" / name
            for line in table.read_text().splitlines()[1:] if table.exists() else ():
                columns = line.split()
                if columns[_DROPS] != "0":
                    drops[columns[_INODE]] = int(columns[_DROPS])
        if not drops:  # as nearly always: whose sockets they are takes a look at each open file
            return {}
        own = self._own_sockets()
        return {inode: count for inode, count in drops.items() if inode in own}

    def _own_sockets(self) -> set[str]:
        """The inodes of the process's sockets."""
        folder = self._process / "fd"
        inodes = set()
        for handle in os.listdir(folder) if folder.exists() else ():
            try:
                target = os.readlink(folder / handle)
            except FileNotFoundError:
                continue  # closed since it was listed
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
        return inodes
