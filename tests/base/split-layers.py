#!/usr/bin/env python3
"""Splits a root file system into the layers of an OCI image, by Debian package.

split-layers.py ROOTFS.tar OUT   writes the layout OUT and prints the release of the kernel.

Every layer lists its parent directories with their true metadata and is sorted; a hard link points to the
first of its names, in the same layer. Nothing below dev, proc, sys, run, tmp and boot gets into a layer.
Output depends on the tar file and SOURCE_DATE_EPOCH only.
"""

import copy
import multiprocessing
import os
import sys
import tarfile

import debian_files
import oci_layout

# With the four parts that are not packages: 24 layers, fewer than the 65 of a real base, but many.
PACKAGE_LAYERS = 20
# The runtime fills these; clients warn of content or drop it.
EMPTY = ("dev/", "proc/", "sys/", "run/", "tmp/", "boot/")
LABELS = {
    "containers.bootc": "1",
    "org.opencontainers.image.title": "Debian 12 base",
    "org.opencontainers.image.version": "12",
}


class Entry(tarfile.TarInfo):
    """A member of the root file system, and the first name of its content (its own unless hard-linked)."""

    __slots__ = ("first_name",)


def path_key(path):
    """Sorts a directory before its content and the content before the directory's next sibling."""
    return path.split("/")


def read_rootfs(tar):
    """Map of path to Entry; every name of a hard-linked file has the content's place and its first name."""
    entries = {}
    for info in tar:
        path = info.name.removeprefix("./").rstrip("/")
        if path in ("", ".") or path.startswith(EMPTY):
            continue
        if info.islnk():
            first = info.linkname.removeprefix("./")
            info = copy.copy(entries[first])
            info.first_name = first
        elif not (info.isreg() or info.isdir() or info.issym()):
            sys.exit(f"split-layers: {path}: neither file, directory nor link")
        else:
            info.first_name = path
        path.encode("utf-8", "strict")
        info.name = path
        info.tarfile = None  # cannot be sent to another process
        entries[path] = info
    return entries


def claim(entries, owner, kernel):
    """Map of component to its paths: files and links, and those directories that nothing lies in."""
    occupied = {os.path.dirname(path) for path in entries}
    parts = {}
    for path, info in entries.items():
        if info.isdir() and path in occupied:
            continue
        # All names of a file go where its first name goes.
        parts.setdefault(debian_files.component(info.first_name, owner, kernel), []).append(path)
    return parts


def layer_entries(entries, paths):
    """The members of a layer: paths and their parents, sorted, second names of a file as hard links."""
    wanted = set(paths)
    for path in paths:
        while path := os.path.dirname(path):
            wanted.add(path)
    members, first_names = [], {}
    for path in sorted(wanted, key=path_key):
        info = copy.copy(entries[path])
        if info.isreg():
            target = first_names.setdefault(info.first_name, path)
            if target != path:
                info.type, info.linkname, info.size, info.pax_headers = tarfile.LNKTYPE, target, 0, {}
        members.append(info)
    return members


def main():
    rootfs, out = sys.argv[1:]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    with tarfile.open(rootfs, "r:", tarinfo=Entry) as tar:
        entries = read_rootfs(tar)
        lists = [
            (path, tar.extractfile(info).read().decode())
            for path, info in entries.items()
            if path.startswith(debian_files.INFO) and path.endswith(".list")
        ]
    (kernel,) = {path.split("/")[3] for path in entries if path.startswith("usr/lib/modules/")}
    parts = claim(entries, debian_files.owners(lists), kernel)
    sizes = {
        part: sum(entries[path].size for path in paths)
        for part, paths in parts.items()
        if part not in debian_files.ALONE
    }
    groups = [[name] for name in debian_files.ALONE] + debian_files.pack(sizes, PACKAGE_LAYERS)

    os.makedirs(os.path.join(out, "blobs", "sha256"))
    jobs = [
        (out, rootfs, layer_entries(entries, [path for part in group for path in parts[part]]), epoch)
        for group in groups
    ]
    with multiprocessing.Pool() as pool:
        written = pool.starmap(oci_layout.write_layer, jobs, chunksize=1)
    layers = [(",".join(group), *layer) for group, layer in zip(groups, written)]
    oci_layout.write_image(out, layers, LABELS, epoch)
    print(kernel)


if __name__ == "__main__":
    main()
