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

# The type checker runs beside the rest, whose processes wait for one another now and then, and is told of at the end.
types=$(mktemp)
if python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    python -m mypy >"$types" 2>&1 &
else
    echo "left out: the last NumPy for Python 3.10 annotates shapes otherwise than the newer ones" >"$types" &
fi
checker=$!
trap '{ kill "$checker" || true; } 2>/dev/null; rm -f "$types"' EXIT

mypy() {
    local status=0
    wait "$checker" || status=$?
    cat "$types"
    return "$status"
}

check python -m ruff check .
check python -m ruff format --check .
check lint-imports --no-logo --no-cache
# In three processes for two cores, as tests wait for messages and processes part of their time; file by file, as the tests
# of a file share what is made for them; conftest.py says which begin.
check python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=15 "$@"
check mypy

if ((${#failed[@]})); then
    printf '\nFailed:\n'
    printf '    %s\n' "${failed[@]}"
    exit 1
fi
printf '\nAll checks passed.\n'
