"""Point the CMake exports of the ROS wheels at this interpreter instead of at the one that the wheels were built with.

The wheels of the message packages export include folders below /opt/python, which exist only on the machine that built
them; CMake refuses targets whose include folders are missing. Run it with the environment's own Python; a second run
changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

BUILDER_NUMPY_INCLUDE = re.compile(r"/opt/python/[^;\"]*/numpy/_?core/include")
BUILDER_PYTHON_INCLUDE = re.compile(r"/opt/python/[^;\"]*/include/python3\.\d+")


def patch(share: Path) -> int:
    """Rewrite the exports below `share`; returns the number of files that changed."""
    python_include = sysconfig.get_path("include", vars={"installed_base": sys.base_prefix})
    changed = 0
    for export in sorted(share.glob("**/*.cmake")):
        text = export.read_text()
        patched = BUILDER_NUMPY_INCLUDE.sub(np.get_include(), text)
        patched = BUILDER_PYTHON_INCLUDE.sub(python_include, patched)
        if patched != text:
            export.write_text(patched)
            changed += 1
    return changed


if __name__ == "__main__":
    print(f"patched {patch(Path(sys.prefix) / 'share')} CMake exports")
