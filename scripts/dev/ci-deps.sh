#!/usr/bin/env bash
# Installs what test-system and check use beyond Go, where it is missing. Quiet when all is there.
# Each line: a program to look for, the Debian package that has it.
set -euo pipefail
wanted='
cc              gcc
git             git
luacheck        lua-check
protoc          protobuf-compiler
systemd-analyze systemd
rabbitmqctl     rabbitmq-server
'
missing=()
while read -r program package; do
  [ -n "$program" ] || continue
  command -v "$program" >/dev/null || missing+=("$package")
done <<<"$wanted"
# protoc without its well-known types cannot compile our messages.
if command -v protoc >/dev/null && [ ! -e /usr/include/google/protobuf/any.proto ] && [ ! -e /usr/local/include/google/protobuf/any.proto ]; then
  missing+=(libprotobuf-dev)
fi
[[ " ${missing[*]:-} " != *" protobuf-compiler "* ]] || missing+=(libprotobuf-dev)
[ "${#missing[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "ci-deps: no apt-get here; install these by hand: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! sudo -n true 2>/dev/null; then
    echo "ci-deps: not root; run: sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo -n)
fi
# Tests start brokers of their own; the package's must not run, neither now nor at the next start.
if [[ " ${missing[*]} " == *" rabbitmq-server "* ]]; then
  for unit in rabbitmq-server.service epmd.service epmd.socket; do
    "${as_root[@]}" mkdir -p /etc/systemd/system
    [ -e "/etc/systemd/system/$unit" ] || "${as_root[@]}" ln -s /dev/null "/etc/systemd/system/$unit"
  done
fi
export DEBIAN_FRONTEND=noninteractive
echo "ci-deps: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
