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
check lint-imports --no-logo --no-cache
if python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    check python -m mypy
else
    printf '\n== mypy is left out: the last NumPy for Python 3.10 annotates shapes otherwise than the newer ones\n'
fi
# In two processes, file by file, as the tests of a file share what is made for them; conftest.py says which begin.
check python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15 "$@"

if ((${#failed[@]})); then
    printf '\nFailed:\n'
    printf '    %s\n' "${failed[@]}"
    exit 1
fi
printf '\nAll checks passed.\n'
