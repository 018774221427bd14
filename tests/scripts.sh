#!/usr/bin/env bash
# Tests the scripts of this directory: Python's by their unit tests, the shell's by their syntax and setup.sh by a run
# against package managers that only write down what they are asked.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

for directory in base clients rpm; do
  python3 -B -m unittest discover -q -s "$here/$directory"
done

while IFS= read -r script; do
  case $(head -1 "$script") in
    *bash) bash -n "$script" ;;
    *sh) sh -n "$script" ;;
  esac
done < <(find "$here" "$here/../.ci" -type f \( -name '*.sh' -o -name run \))
"$here/test-setup.sh"
