#!/usr/bin/env bash
# Writes the generated Go code of every .proto file, and what policies can reach as types for editors, settings of
# luacheck, a reference page and drawings of the stock policies, below the folder given (default: here).
set -euo pipefail
top=$(git rev-parse --show-toplevel 2>/dev/null || pwd)
out=$(realpath "${1:-$top}")
cd "$top"

"${GO:-go}" test -count 1 ./policies/reference -run '^TestGenerated$' -rewrite -out "$out" >/dev/null
"${GO:-go}" test -count 1 ./policies/simulate/chart -run '^TestStockDrawings$' -rewrite -out "$out" >/dev/null

if ! command -v protoc >/dev/null; then
  echo "generate: protoc is missing; install it with: make ci-deps" >&2
  exit 1
fi
mapfile -t protos < <(find . -name '*.proto' -not -path './.git/*' -not -path '*/node_modules/*' | sed 's|^\./||' | sort)
[ "${#protos[@]}" -gt 0 ] || exit 0
PATH="$top/internal/tools/bin:$PATH" protoc -I . \
  --go_out="$out" --go_opt=paths=source_relative \
  --go-grpc_out="$out" --go-grpc_opt=paths=source_relative "${protos[@]}"
