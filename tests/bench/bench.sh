#!/usr/bin/env bash
# Prints timings of assemble against its peers: bench.sh [WORK]
#
# Needs root and mmdebstrap for newer peers, in a chroot below WORK; without them only the machine's own peers run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-.work}
target=${CARGO_TARGET_DIR:-target}

peers=()
if [ "$(id -u)" = 0 ] && [ "${BENCH_NEWER:-1}" = 1 ]; then
  "$here/../peers.sh" "$work/peers" sid
  peers=(--peers "$work/peers")
fi
python3 -B "$here/push.py" "$work" "$target/release/assemble" --runs "${BENCH_RUNS:-3}"
exec python3 -B "$here/append.py" "$work" "$target/release/assemble" "${peers[@]}" --runs "${BENCH_RUNS:-5}"
