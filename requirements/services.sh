#!/bin/sh
# Sees to it that the services that the tests start are installed: PostgreSQL 15+, Redis, Chromium, Node, Apache.
set -eu
missing=
need() { # program, Debian package
    command -v "$1" >/dev/null || missing="$missing $2"
}
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
need redis-server redis-server
need chromium chromium
need node nodejs
need npm npm
need apache2 apache2
[ -f /usr/lib/apache2/modules/mod_auth_openidc.so ] || missing="$missing libapache2-mod-auth-openidc"
# shellcheck disable=SC2086 # several words are meant
[ -z "$missing" ] || exec "$(dirname "$0")/debian.sh" $missing
