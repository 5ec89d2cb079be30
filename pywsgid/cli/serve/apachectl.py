"""The apachectl that `pywsgid setup` writes: a shell script that needs httpd and none of our files.

Rules: plain sh and the tools that every system has.
"""

from __future__ import annotations

import os
import shlex

from pywsgid.cli.serve.site import Site

TEXT = """#!/bin/sh
# Controls the httpd of this directory. Written by pywsgid; you may change it.
#
#   apachectl start | stop | restart | graceful | graceful-stop | configtest | status
#   apachectl foreground      stays in the foreground, for systemd or a container
#
# graceful loads a changed httpd.conf and new code, and loses no request.
# Options (-S, -M) are passed to httpd.
set -eu

HTTPD=@HTTPD@
ROOT=@ROOT@
CONFIGURATION=$ROOT/@CONFIGURATION@
URL=@URL@
PIDFILE=$ROOT/run/httpd.pid
# Seconds until stop gives up; longer than shutdown-timeout.
PATIENCE=@PATIENCE@

pid=$(cat "$PIDFILE" 2>/dev/null || true)

# kill -0 would need permission; /proc does not.
running() { [ -n "$pid" ] && [ -e "/proc/$pid" ]; }

# httpd removes its pid file before it ends, so wait for the process.
wait_for_exit() {
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
        if running; then echo "httpd (pid $pid) is already running"; exit 0; fi
        httpd -k start
        ;;
    stop)
        if ! running; then echo "httpd is not running"; exit 0; fi
        httpd -k "$1"
        wait_for_exit
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
        sed -n '2,9s/^# \\{0,1\\}//p' "$0"
        ;;
    -*)
        httpd "$@"
        ;;
    *)
        commands="start stop restart graceful graceful-stop configtest status foreground"
        echo "$1 is not a command: use one of $commands" >&2
        exit 2
        ;;
esac
"""
MARGIN = 10  # seconds beyond shutdown-timeout


def script(site: Site, configuration: str) -> str:
    """Returns the script for a site; `configuration` is the name of its httpd.conf."""
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
