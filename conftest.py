"""Keeps what the tests publish to this machine and to the pytest process that publishes it."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

# The domains above 101 take UDP ports that Linux gives to outgoing connections.
LAST_FREE_DOMAIN = 101


def claim_domain() -> tuple[int, socket.socket]:
    """A ROS domain that no other pytest process of this machine uses, and what holds it until this process ends.

    Raises:
        RuntimeError: every domain is taken.
    """
    for offset in range(LAST_FREE_DOMAIN):
        domain = 1 + (os.getpid() + offset) % LAST_FREE_DOMAIN
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0instance_seg_ros.test.domain.{domain}")  # an abstract name: it leaves no file behind
        except OSError:
            claim.close()
        else:
            return domain, claim
    raise RuntimeError(f"each of the ROS domains 1 to {LAST_FREE_DOMAIN} is in use by another run of the tests")


# Before anything initialises ROS, and inherited by the processes that tests start. Each worker of pytest-xdist is a
# process of its own and imports this file.
DOMAIN, DOMAIN_CLAIM = claim_domain()
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOG_DIR"] = str(ROOT / ".ros" / "log" / "nodes")

# Workers share the cores: with as many threads each as there are cores they would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first, so that no process works on one of them while the others are done already."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and shutil.which("nvidia-smi") is None:
        pytest.skip("needs an NVIDIA GPU")
