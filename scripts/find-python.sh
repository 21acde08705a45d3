#!/bin/sh
# Prints the path of a Python that can make the virtual environment, or says what is missing.
# Each candidate is run, not only looked up: version managers leave commands that only fail.
# 3.12 comes first: every wheel that the tests use exists for it.
set -eu

for candidate in ${PYTHON:-python3.12 python3.11 python3.13 python3 python}; do
    if "$candidate" -c '
import sys
if not (3, 11) <= sys.version_info < (3, 14): sys.exit(1)
import ensurepip, venv
print(sys.executable)' 2>/dev/null; then
        exit 0
    fi
done

{
    echo "No usable Python found (tried: ${PYTHON:-python3.12 python3.11 python3.13 python3 python})."
    echo "Needed: Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip."
    echo "  Debian, Ubuntu: apt-get install python3 python3-venv"
    echo "  macOS:          brew install python@3.12"
    echo "If it is somewhere else: make PYTHON=/path/to/python"
} >&2
exit 1
