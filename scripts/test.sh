#!/usr/bin/env bash
# Runs every check; all of them run, and the exit status says whether all passed. Arguments go to pytest.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
source env.sh

failed=()
check() {
    printf '\n== %s\n' "$*"
    "$@" || failed+=("$*")
}

check python -m ruff check .
check python -m ruff format --check .
if python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    check python -m mypy
else
    printf '\n== mypy is left out: the last NumPy for Python 3.10 annotates shapes otherwise than the newer ones\n'
fi
if (($#)); then
    check python -m pytest --durations=15 "$@"
else
    # Training apart, as in use: behind the tests of ROS, OpenVINO and ONNX Runtime, in one process with them, it crashed.
    check python -m pytest --durations=15 --ignore=test/training
    check python -m pytest --durations=15 test/training
fi

if ((${#failed[@]})); then
    printf '\nFailed:\n'
    printf '    %s\n' "${failed[@]}"
    exit 1
fi
printf '\nAll checks passed.\n'
