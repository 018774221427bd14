"""Archives that readers agree about, and archives that must be refused."""

import gzip
import importlib.util
import io
import os
import subprocess
import tarfile
import tempfile
import unittest

SCRIPT = os.path.join(os.path.dirname(__file__), "list-layer.py")
spec = importlib.util.spec_from_file_location("list_layer", SCRIPT)
list_layer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(list_layer)


def archive(form):
    """A tar archive with one entry of every type and with names and numbers that need extensions."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, kind, link, fields in (
            ("usr", tarfile.DIRTYPE, "", {"mode": 0o1777}),
            ("usr/ü\n\\x", tarfile.REGTYPE, "", {"mode": 0o6755, "uid": 70000}),
            ("usr/" + "l" * 150, tarfile.REGTYPE, "", {"uid": 3000000}),
            ("usr/hard", tarfile.LNKTYPE, "usr/ü\n\\x", {}),
            ("usr/soft", tarfile.SYMTYPE, "a b\tc", {}),
            ("usr/null", tarfile.CHRTYPE, "", {"devmajor": 1, "devminor": 3}),
            ("usr/pipe", tarfile.FIFOTYPE, "", {}),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mtime = kind, link, 1735689600
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info)
    return out.getvalue()


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


class ListLayer(unittest.TestCase):
    def compare(self, data):
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            return list_layer.compare(file.name)

    def test_agree(self):
        for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            plain = archive(form)
            for data in (plain, gzip.compress(plain), zstd(plain)):
                self.assertEqual(self.compare(data), 7)

    def test_refused(self):
        plain = archive(tarfile.GNU_FORMAT)
        header = tarfile.TarInfo("usr/a").tobuf()
        skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
        for reason, data in {
            "after the first gzip member": gzip.compress(plain[:1024]) + gzip.compress(plain[1024:]),
            "is cut off": gzip.compress(plain)[:-20],
            "not exactly one zstd frame": zstd(plain[:1024]) + zstd(plain[1024:]),
            "one zstd frame": zstd(plain) + skippable,
            "lone zero block": header + bytes(512) + header + bytes(1024),
            "no entries": bytes(10240),
        }.items():
            with self.subTest(reason), self.assertRaisesRegex(list_layer.Refused, reason):
                self.compare(data)

    def test_different_listings(self):
        line = "-rw-r--r-- 0/0 0 2025-01-01 00:00:00 "
        for ours, theirs, reason in (
            ([line + "a"], [line + "b"], "readers differ"),
            ([line + "a"], [line + "a", line + "b"], "tarfile sees 1 entries, GNU tar 2"),
        ):
            with self.subTest(reason), self.assertRaisesRegex(list_layer.Refused, reason):
                list_layer.compare_listings(ours, theirs)


if __name__ == "__main__":
    unittest.main()
