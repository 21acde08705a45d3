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
