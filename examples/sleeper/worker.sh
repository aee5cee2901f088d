#!/bin/sh
# A worker whose work can be seen: one line with a counter every second, until it is told to stop.
# SIGTERM and SIGINT end it after the line it is at, with status 0; that is what a drain waits for.
#   GREETING  word at the start of each line (default tick)
#   COUNT     lines until the work is done and the program ends (default 0: never)
set -u
greeting=${GREETING:-tick}
count=${COUNT:-0}
n=0
nap=
stop() {
    [ -n "$nap" ] && kill "$nap" 2>/dev/null
    echo "$greeting: told to stop after $n"
    exit 0
}
trap stop TERM INT

while :; do
    n=$((n + 1))
    echo "$greeting $n"
    if [ "$n" -eq "$count" ]; then
        echo "$greeting: done after $n"
        exit 0
    fi
    # The shell handles a signal only between commands: sleep in the background, so that it need not
    # wait for the second to end.
    sleep 1 &
    nap=$!
    wait "$nap"
    nap=
done
