#!/usr/bin/env bash
# Runs cargo-deny, installing it into DIR/tools when it is not there: deny.sh DIR CHECK...
set -euo pipefail
dir=${1:?usage: deny.sh DIR CHECK...}
shift
# Pinned, as a newer one may refuse what this one accepts.
version=0.20.2
PATH=$PATH:$dir/tools/bin
if ! type -P cargo-deny >/dev/null; then
  echo "deny.sh: installing cargo-deny $version into $dir/tools" >&2
  # It runs for a second: not worth an optimised build, which takes three times as long.
  CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root "$dir/tools" \
    --target-dir "$dir/tools/target" cargo-deny@$version
  rm -rf "$dir/tools/target"
fi
exec cargo deny --log-level warn check "$@"
