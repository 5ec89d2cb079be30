"""The apachectl that `pywsgid setup` writes: a shell script that needs httpd and nothing of
ours."""

from __future__ import annotations

import os
import shlex

from pywsgid.cli.serve.site import Site

TEXT = """#!/bin/sh
# The httpd of this directory. Written by pywsgid; yours to change.
#
#   apachectl start | stop | restart | graceful | graceful-stop | configtest | status
#   apachectl foreground      stays in the foreground, for systemd or a container
#
# graceful takes up a changed httpd.conf and new code, and loses no request. Options (-S, -M) are handed on to httpd.
set -eu

HTTPD=@HTTPD@
ROOT=@ROOT@
CONFIGURATION=$ROOT/@CONFIGURATION@
URL=@URL@
PIDFILE=$ROOT/run/httpd.pid
# Longer than the daemons' shutdown-timeout.
PATIENCE=@PATIENCE@

pid=$(cat "$PIDFILE" 2>/dev/null || true)

# /proc and not kill -0, which is not for everybody.
running() { [ -n "$pid" ] && [ -e "/proc/$pid" ]; }

# The file of its pid goes before it does.
wait_for_the_end() {
    tenths=0
    while running; do
        if [ "$tenths" -ge "$((PATIENCE * 10))" ]; then
            echo "httpd (pid $pid) has not stopped within $PATIENCE seconds" >&2
            exit 1
        fi
        tenths=$((tenths + 1))
        sleep 0.1
    done
}

httpd() { "$HTTPD" -d "$ROOT" -f "$CONFIGURATION" "$@"; }

case ${1:-help} in
    start)
        if running; then echo "httpd (pid $pid) is running already"; exit 0; fi
        httpd -k start
        ;;
    stop)
        if ! running; then echo "httpd is not running"; exit 0; fi
        httpd -k "$1"
        wait_for_the_end
        ;;
    restart|graceful)
        httpd -t
        httpd -k "$1"
        ;;
    graceful-stop)
        httpd -k "$1"
        ;;
    configtest)
        httpd -t
        ;;
    status)
        # The exit codes of init scripts: 0 running, 3 not running.
        if running; then echo "running: pid $pid, $URL"; else echo "not running"; exit 3; fi
        ;;
    foreground)
        exec "$HTTPD" -d "$ROOT" -f "$CONFIGURATION" -DFOREGROUND
        ;;
    help|-h|--help)
        sed -n '2,8s/^# \\{0,1\\}//p' "$0"
        ;;
    -*)
        httpd "$@"
        ;;
    *)
        echo "$1 is none of: start stop restart graceful graceful-stop configtest status foreground" >&2
        exit 2
        ;;
esac
"""
MARGIN = 10


def script(site: Site, configuration: str) -> str:
    values = {
        "@HTTPD@": os.path.abspath(site.server.program),
        "@ROOT@": site.root,
        "@URL@": site.address.url,
    }
    patience = str(int(site.shutdown_timeout) + MARGIN)
    text = TEXT.replace("@CONFIGURATION@", configuration).replace("@PATIENCE@", patience)
    for word, value in values.items():
        text = text.replace(word, shlex.quote(value))
    return text
