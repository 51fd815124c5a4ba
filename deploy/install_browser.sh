#!/bin/sh
# Installs Debian's Chromium, or says in one line why not; the browser tests are skipped without it.
set -eu

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "No Chromium: the browser tests will be skipped. Install the package chromium to run them."
    exit 0
fi
echo "Installing Chromium for the browser tests; this takes a minute."
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
