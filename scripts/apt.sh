#!/bin/sh
# Debian's tools that pip does not have: synthesis, and a second opinion on the Verilog.
# Idempotent: does nothing when all are there. Needs root only when something is missing.
set -eu

# command:package, or for a package of data the path of a file in it:package
WANTED="yosys:yosys iverilog:iverilog sta:opensta
/usr/share/qflow/tech/osu018/osu018_stdcells.lib:qflow-tech-osu018"

missing=""
for entry in $WANTED; do
    case "$entry" in
        /*) test -e "${entry%%:*}" ;;
        *) command -v "${entry%%:*}" >/dev/null 2>&1 ;;
    esac || missing="$missing ${entry#*:}"
done

if [ -z "$missing" ]; then
    echo "apt: nothing to do, all of it is installed"
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "apt: no apt-get here; install by other means:$missing" >&2
    exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "apt: must be root to install:$missing (try: sudo make apt)" >&2
    exit 2
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of packages, split on purpose
apt-get install -y -qq --no-install-recommends $missing >/dev/null
