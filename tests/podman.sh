# How builders run on this machine: sourced by tests that run podman through assemble.
# shellcheck shell=bash

# Sets the environment that assemble reads. Machines that are containers themselves may not raise limits, and their
# control groups are not those that crun wants; storage in memory is faster, and does not fill the disk.
podman_settings() {
  local store
  if [ "$(id -u)" != 0 ]; then return 0; fi
  command -v runc >/dev/null && export ASSEMBLE_PODMAN_RUNTIME=${ASSEMBLE_PODMAN_RUNTIME-runc}
  export ASSEMBLE_PODMAN_ARGUMENTS=${ASSEMBLE_PODMAN_ARGUMENTS---ulimit=nofile=1024:1024 --ulimit=nproc=1000:1000}
  store=$(scratch)/assemble-podman
  export ASSEMBLE_PODMAN_OPTIONS=${ASSEMBLE_PODMAN_OPTIONS---root=$store/root --runroot=$store/run --storage-driver=overlay}
}
