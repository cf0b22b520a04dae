"""The middlewares' settings for images, and what the operating system drops before them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy")

from instance_seg_ros.ros.middleware import (
    CYCLONEDDS_PROFILE,
    PROFILES,
    RECEIVE_BUFFER_BYTES,
    DroppedPackets,
    cure_of_full_buffers,
    cure_of_loss,
    with_profiles,
)

HEADER = "  sl  local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref pointer drops"


def process(folder: Path, sockets: dict[str, str], udp: dict[str, int]) -> Path:
    """A process's folder in /proc: what its handles link to, and the drops of every UDP socket there is by inode."""
    (folder / "fd").mkdir(parents=True, exist_ok=True)
    for handle, target in sockets.items():
        (folder / "fd" / handle).unlink(missing_ok=True)
        (folder / "fd" / handle).symlink_to(target)
    (folder / "net").mkdir(exist_ok=True)
    rows = (
        f"  99: 0100007F:1CE8 00000000:0000 07 00000000:00000000 00:00000000 00000000 1000 0 {inode} 2 0 {drops}"
        for inode, drops in udp.items()
    )
    (folder / "net" / "udp").write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


def test_packets_dropped_at_the_process_s_own_sockets_are_counted_once(tmp_path: Path) -> None:
    handles = {"0": "/dev/null", "3": "socket:[11]", "4": "socket:[12]", "5": "socket:[13]"}  # 13: no UDP socket
    looks = [
        ({"11": 5, "12": 0, "77": 900}, 5),  # 77 is another process's
        ({"11": 5, "12": 0, "77": 950}, 0),
        ({"11": 7, "12": 3, "77": 950}, 5),
        ({"12": 4}, 1),  # 11 was closed
    ]
    dropped = DroppedPackets(tmp_path)
    for udp, new in looks:
        process(tmp_path, handles, udp)
        assert dropped.since_last_look() == new


def test_where_there_is_no_proc_nothing_is_counted(tmp_path: Path) -> None:
    assert DroppedPackets(tmp_path / "none").since_last_look() == 0


@pytest.mark.skipif(not Path("/proc/self/net/udp").exists(), reason="Linux counts what it drops in /proc")
def test_linux_drops_what_finds_a_buffer_full() -> None:
    dropped = DroppedPackets()
    dropped.since_last_look()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        for _ in range(50):
            sender.sendto(bytes(8192), receiver.getsockname())
        receiver.setblocking(False)
        received = 0
        while True:
            try:
                receiver.recv(65536)
            except BlockingIOError:
                break
            received += 1
        assert 0 < received < 50
        assert dropped.since_last_look() == 50 - received
        assert dropped.since_last_look() == 0


def test_what_the_user_has_set_for_a_middleware_stays() -> None:
    assert with_profiles({"HOME": "/h", "CYCLONEDDS_URI": "<mine/>"}) == {
        **PROFILES,
        "HOME": "/h",
        "CYCLONEDDS_URI": "<mine/>",
    }
    for value in PROFILES.values():
        assert Path(value.removeprefix("file://")).is_file()


def test_the_profile_of_cyclone_dds_asks_for_the_buffer_that_the_cure_names_and_demands_none() -> None:
    [buffer] = ElementTree.parse(CYCLONEDDS_PROFILE).iter("{https://cdds.io/config}SocketReceiveBufferSize")
    assert buffer.attrib == {
        "max": f"{RECEIVE_BUFFER_BYTES >> 20} MiB"
    }  # with min, it would not start on most machines
    assert f"net.core.rmem_max={RECEIVE_BUFFER_BYTES}" in cure_of_loss("rmw_cyclonedds_cpp")


@pytest.mark.parametrize(
    ("middleware", "wish"),
    [
        ("rmw_fastrtps_cpp", "export FASTRTPS_DEFAULT_PROFILES_FILE=/"),
        ("rmw_cyclonedds_cpp", "export CYCLONEDDS_URI=file:///"),
        ("rmw_zenoh_cpp", ""),
    ],
)
def test_full_buffers_are_cured_by_the_leave_of_linux_and_the_wish_of_the_middleware(
    middleware: str, wish: str
) -> None:
    cure = cure_of_full_buffers(middleware)
    assert cure.startswith("sudo sysctl -w net.core.rmem_max=16777216")
    assert wish in cure
    assert ("export" in cure) == bool(wish)


def test_tests_and_what_they_start_run_with_the_profiles() -> None:
    assert os.environ.keys() >= PROFILES.keys()
