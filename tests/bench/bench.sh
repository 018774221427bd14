#!/usr/bin/env bash
# Prints timings of assemble against its peers: bench.sh [WORK]
#
# Needs root and mmdebstrap for newer peers, in a chroot below WORK, and for the trees of the rechunking benchmark; without
# them only the machine's own peers run. BENCH_RECHUNK=0 leaves rechunking out: its trees take 20 GB and half an hour.
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
python3 -B "$here/append.py" "$work" "$target/release/assemble" "${peers[@]}" --runs "${BENCH_RUNS:-5}"
if [ "$(id -u)" = 0 ] && [ "${BENCH_RECHUNK:-1}" = 1 ]; then
  exec python3 -B "$here/rechunk/rechunk.py" "$work/rechunk" "$target/release/assemble"
fi
