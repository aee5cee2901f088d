#!/usr/bin/env bash
# Generates everything into a temporary folder and compares it with what is committed. The comment that
# names protoc's own version may differ: distributions ship different ones and the code is the same.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v protoc >/dev/null; then
  if [ "${CI:-}" = true ]; then
    echo "check-generated: protoc is missing; install it with: make ci-deps" >&2
    exit 1
  fi
  echo "check-generated: skipped, protoc is missing (make ci-deps installs it)"
  exit 0
fi
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
scripts/dev/generate.sh "$temp"
bad=0
while IFS= read -r -d '' file; do
  name=${file#"$temp"/}
  diff -u -I '^// 	protoc  ' -I '^// - protoc  ' "$name" "$file" || bad=1
done < <(find "$temp" -type f -print0)
if [ "$bad" != 0 ]; then
  echo "check-generated: generated files are out of date; run: make generate" >&2
  exit 1
fi
