#!/bin/sh
# Installs the Debian packages named, as root; says how to install them, as anybody else.
set -eu
if [ "$(id -u)" != 0 ]; then
    echo "Missing on this machine. Run as root: apt-get install $*" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "Missing on this machine, which has no apt-get. Install what Debian calls: $*" >&2
    exit 1
fi
echo "Installing $* ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@" >/dev/null
