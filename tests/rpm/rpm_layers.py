#!/usr/bin/env python3
"""Splits a root file system into the layers of an OCI image, by RPM: rpm_layers.py ROOTFS.tar OWNERS OUT

OWNERS has a line "package, tab, path" for each path of each package. Everything else is as in split-layers.py.
"""

import importlib.util
import os
import sys
import tarfile

BASE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "base")
sys.path.insert(0, BASE)
import debian_files  # noqa: E402
import oci_layout  # noqa: E402

# With the four parts that are not packages: 12 layers.
PACKAGE_LAYERS = 8


def load_split_layers():
    """The module split-layers.py, whose name no import statement can spell."""
    spec = importlib.util.spec_from_file_location("split_layers", os.path.join(BASE, "split-layers.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def owners(lines):
    """Map of path in the merged tree to package; a directory of several goes to the first by name."""
    owner = {}
    for line in sorted(lines):
        package, _, path = line.rstrip("\n").partition("\t")
        owner.setdefault(debian_files.canonical(path), package)
    return owner


def labels(kernel):
    return {
        "containers.bootc": "1",
        "ostree.linux": kernel,
        "org.opencontainers.image.title": "RPM test bed",
        "org.opencontainers.image.version": "10",
    }


def main():
    rootfs, owners_file, out = sys.argv[1:]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    split_layers = load_split_layers()
    with tarfile.open(rootfs, "r:", tarinfo=split_layers.Entry) as tar:
        entries = split_layers.read_rootfs(tar)
    with open(owners_file, encoding="utf-8") as file:
        owner = owners(file)
    (kernel,) = {path.split("/")[3] for path in entries if path.startswith("usr/lib/modules/")}
    parts = split_layers.claim(entries, owner, kernel)
    sizes = {
        part: sum(entries[path].size for path in paths)
        for part, paths in parts.items()
        if part not in debian_files.ALONE
    }
    groups = [[name] for name in debian_files.ALONE] + debian_files.pack(sizes, PACKAGE_LAYERS)
    os.makedirs(os.path.join(out, "blobs", "sha256"))
    layers = []
    for group in groups:
        members = split_layers.layer_entries(entries, [path for part in group for path in parts[part]])
        layers.append((",".join(group), *oci_layout.write_layer(out, rootfs, members, epoch)))
    oci_layout.write_image(out, layers, labels(kernel), epoch)


if __name__ == "__main__":
    main()
