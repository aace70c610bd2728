#!/bin/sh
# Sees to it that the services that the tests start are installed: PostgreSQL 15+, PgBouncer, Redis, Chromium, Node, and the web
# servers Apache (with mod_wsgi, mod_auth_openidc and mod_oauth2), nginx and uWSGI.
set -eu
missing=
need() { # program, Debian package
    command -v "$1" >/dev/null || missing="$missing $2"
}
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
need redis-server redis-server
need pgbouncer pgbouncer
need chromium chromium
need node nodejs
need npm npm
need apache2 apache2
[ -f /usr/lib/apache2/modules/mod_auth_openidc.so ] || missing="$missing libapache2-mod-auth-openidc"
[ -f /usr/lib/apache2/modules/mod_oauth2.so ] || missing="$missing libapache2-mod-oauth2"
[ -f /usr/lib/apache2/modules/mod_wsgi.so ] || missing="$missing libapache2-mod-wsgi-py3"
need nginx nginx-light
need caddy caddy
need systemd-analyze systemd
need uwsgi uwsgi
ls /usr/lib/uwsgi/plugins/python3*_plugin.so >/dev/null 2>&1 || missing="$missing uwsgi-plugin-python3"
# shellcheck disable=SC2086 # several words are meant
[ -z "$missing" ] || exec "$(dirname "$0")/debian.sh" $missing
