#!/usr/bin/env bash
# Runs one step of a longer run under a heading: step.sh NAME COMMAND...
#
# The status is the command's. With STEPS, a file, its seconds are printed, and go there for the table at the end, which
# step.sh --table prints; it removes the file.
set -uo pipefail

if [ "${1:?usage: step.sh NAME COMMAND... | --table}" = --table ]; then
  printf '\n'
  awk '{ total += $1; seconds = $1; $1 = ""; printf "%6d s %s\n", seconds, $0 } END { printf "%6d s  in all\n", total }' \
    "${STEPS:?}"
  rm -f "$STEPS"
  exit
fi

name=$1
shift
bold= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
printf '\n%s== %s%s\n' "$bold" "$name" "$plain"
begin=$(date +%s)
status=0
"$@" || status=$?
seconds=$(($(date +%s) - begin))
if [ $status != 0 ]; then
  printf '%s== %s failed with status %s after %s s%s\n' "$bold" "$name" $status $seconds "$plain" >&2
elif [ -n "${STEPS:-}" ]; then
  printf -- '-- %s s\n' "$seconds"
  echo "$seconds $name" >>"$STEPS"
fi
exit $status
