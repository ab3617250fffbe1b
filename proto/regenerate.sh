#!/usr/bin/env bash
# Makes proto/*_pb2.py from proto/*.proto; with --check only tells whether that would change anything.
#
# The compiler lives in an environment of its own, since nobody but this script needs it. Its generated code
# must not be newer than the protobuf runtime in requirements.txt, or importing it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

compiler="grpcio-tools==1.85.1"
venv=.venv/protoc

if [ "$("$venv/bin/pip" freeze 2>/dev/null | grep '^grpcio-tools==')" != "$compiler" ]; then
  "${PYTHON:-.venv/bin/python}" -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$compiler"
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$venv/bin/python" -m grpc_tools.protoc --proto_path=. --python_out="$out" --pyi_out="$out" proto/*.proto

changed=0
for made in "$out"/proto/*; do
  here=proto/$(basename "$made")
  cmp --silent "$made" "$here" && continue
  changed=1
  if [ "${1:-}" = --check ]; then echo "$here is not what its .proto makes: run proto/regenerate.sh" >&2
  else cp "$made" "$here"; echo "$here"; fi
done
[ "${1:-}" != --check ] || exit "$changed"
