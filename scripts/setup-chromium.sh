#!/bin/sh
# Makes sure that the browser tests find a Chromium: installs Debian's where that is possible,
# says how to get one elsewhere. Without one it fails in CI only (CI is set).
set -eu

for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done

# Not on Ubuntu: its package of that name only points to a snap.
if grep -qsx 'ID=debian' /etc/os-release && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium for the browser tests."
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq </dev/null \
        && apt-get install -qq -y --no-install-recommends chromium </dev/null >/dev/null; then
        exit 0
    fi
fi

{
    echo "The browser tests need Chromium or Chrome, and none was found."
    echo "  Debian:  apt-get install chromium     (as root, 'make chromium' does it)"
    echo "  Ubuntu:  snap install chromium"
    echo "  macOS:   brew install --cask chromium"
    echo "If it is somewhere else, set CHROMIUM to its path."
} >&2
[ -z "${CI:-}" ]
