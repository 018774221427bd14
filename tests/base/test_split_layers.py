"""Splitting a small root file system by a small package database."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zlib

import debian_files

EPOCH = 1000
MODULES = "usr/lib/modules/6.1.0"
CAPABILITY = "\x01\x00\x00\x02\x00\x20\x00\x00"
# path, type, content or link target
ROOTFS = (
    ("dev", "dir", ""),
    ("dev/leftover", "file", "x"),
    ("lib", "symlink", "usr/lib"),
    ("usr", "dir", ""),
    ("usr/bin", "dir", ""),
    ("usr/bin/one", "file", "1"),
    ("usr/bin/two", "file", "22"),
    ("usr/bin/also-one", "hardlink", "usr/bin/one"),
    ("usr/lib", "dir", ""),
    ("usr/lib/dpkg", "dir", ""),
    ("usr/lib/dpkg/info", "dir", ""),
    ("usr/lib/dpkg/info/one:amd64.list", "file", "/.\n/bin\n/bin/one\n"),
    ("usr/lib/dpkg/info/two.list", "file", "/.\n/usr/bin/two\n/bin/also-one\n"),
    ("usr/lib/modules", "dir", ""),
    (MODULES, "dir", ""),
    (MODULES + "/initramfs.img", "file", "i"),
    (MODULES + "/vmlinuz", "file", "k"),
    ("etc", "dir", ""),
    ("etc/motd", "file", "m"),
)
TYPES = {"dir": tarfile.DIRTYPE, "file": tarfile.REGTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}


def write_rootfs(path):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, content in ROOTFS:
            info = tarfile.TarInfo("./" + name)
            info.type = TYPES[kind]
            info.mtime = 2000
            data = b""
            if kind == "file":
                data = content.encode()
                info.size = len(data)
            elif kind != "dir":
                info.linkname = content if kind == "symlink" else "./" + content
            if name == "usr":
                info.mode = 0o711
            if name == "usr/bin/one":
                info.pax_headers = {
                    "SCHILY.xattr.security.capability": CAPABILITY,
                    "SCHILY.xattr.security.selinux": "label",
                }
            tar.addfile(info, io.BytesIO(data))


class SplitLayers(unittest.TestCase):
    def split(self, directory):
        """Layers by name of the component: list of (path, link target)."""
        rootfs, out = os.path.join(directory, "rootfs.tar"), os.path.join(directory, "out")
        write_rootfs(rootfs)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "split-layers.py")
        done = subprocess.run(
            [sys.executable, "-B", script, rootfs, out],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout, "6.1.0\n")

        def blob(digest):
            with open(os.path.join(out, "blobs", *digest.split(":")), "rb") as file:
                data = file.read()
            self.assertEqual(digest, "sha256:" + hashlib.sha256(data).hexdigest())
            return data

        with open(os.path.join(out, "index.json"), "rb") as file:
            manifest = json.loads(blob(json.load(file)["manifests"][0]["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))
        self.assertEqual(len(config["history"]), len(manifest["layers"]))
        self.members = {}
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
            plain = zlib.decompress(blob(layer["digest"]), 31)
            self.assertEqual(diff_id, "sha256:" + hashlib.sha256(plain).hexdigest())
            with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
                self.members[layer["annotations"]["ostree.components"]] = tar.getmembers()
        return {
            name: [info.name + (" = " + info.linkname if info.islnk() else "") for info in members]
            for name, members in self.members.items()
        }

    def test_layers(self):
        modules = ["usr", "usr/lib", "usr/lib/modules", MODULES]
        with tempfile.TemporaryDirectory() as directory:
            layers = self.split(directory)
        self.assertEqual(
            layers,
            {
                "etc": ["etc", "etc/motd"],
                "kernel": modules + [MODULES + "/vmlinuz"],
                "initramfs": modules + [MODULES + "/initramfs.img"],
                "generated": [
                    "dev",
                    "lib",
                    "usr",
                    "usr/lib",
                    "usr/lib/dpkg",
                    "usr/lib/dpkg/info",
                    "usr/lib/dpkg/info/one:amd64.list",
                    "usr/lib/dpkg/info/two.list",
                ],
                # The second name goes with the first, whoever lists it; sorted, it is the first one now.
                "one": ["usr", "usr/bin", "usr/bin/also-one", "usr/bin/one = usr/bin/also-one"],
                "two": ["usr", "usr/bin", "usr/bin/two"],
            },
        )
        (usr, _, file, _) = self.members["one"]
        self.assertEqual((usr.mode, usr.mtime), (0o711, EPOCH))
        self.assertEqual(file.pax_headers, {"SCHILY.xattr.security.capability": CAPABILITY})

    def test_pack(self):
        sizes = {"a": 5, "b": 9, "c": 4, "d": 1}
        self.assertEqual(debian_files.pack(sizes, 2), [["b", "d"], ["a", "c"]])
        self.assertEqual(debian_files.pack({"a": 1}, 2), [["a"]])


if __name__ == "__main__":
    unittest.main()
