#!/bin/sh
# A worker that handles messages of a shared inbox with the command line until the stop file exists. Arguments as in mcp_worker.py.
set -eu
program=$1 name=$3 lease=$4 stop=$5 log=$6
export AGENTHUB_DB="$2" AGENTHUB_AGENT="$name"
while [ ! -e "$stop" ]; do
    mail=$("$program" inbox jobs --claim --limit 10 --lease "$lease" --wait 1 --json 2>/dev/null) || continue
    ids=$(printf '%s\n' "$mail" | sed 's/^{"n":\([0-9]*\),.*/\1/')
    printf '%s\n' "$ids" >>"$log"
    # shellcheck disable=SC2086 # one word for each id
    "$program" ack $ids >/dev/null
done
