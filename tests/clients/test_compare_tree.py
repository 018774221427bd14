"""A directory against its description, and against descriptions that are wrong in one field."""

import hashlib
import importlib.util
import os
import tempfile
import unittest

SCRIPT = os.path.join(os.path.dirname(__file__), "compare-tree.py")
spec = importlib.util.spec_from_file_location("compare_tree", SCRIPT)
compare_tree = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare_tree)

DIGEST = "sha256:" + hashlib.sha256(b"text").hexdigest()


class CompareTree(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        root = self.root = directory.name
        os.mkdir(f"{root}/a dir")
        with open(f"{root}/a dir/ü\r", "w") as file:
            file.write("text")
        os.chmod(f"{root}/a dir/ü\r", 0o4755)
        os.link(f"{root}/a dir/ü\r", f"{root}/second")
        os.symlink("to\tthere", f"{root}/soft")
        os.mkfifo(f"{root}/pipe", 0o600)
        for name in ("soft", "pipe", "second", "a dir"):
            os.utime(f"{root}/{name}", (1000, 1000), follow_symlinks=False)
        os.chmod(f"{root}/a dir", 0o755)
        owner = f"{os.getuid()}:{os.getgid()}"
        self.text = (
            f"/a\\x20dir dir 0755 {owner} 1000\n"
            f"/a\\x20dir/ü\\x0d file 4755 {owner} 1000 size=4 {DIGEST}\n"
            f"/pipe fifo 0600 {owner} 1000\n"
            f"/second hardlink 4755 {owner} 1000 to=/a\\x20dir/ü\\x0d\n"
            f"/soft symlink 0777 {owner} 1000 to=to\\x09there\n"
        )

    def differences(self, text):
        return compare_tree.differences(compare_tree.described(text), compare_tree.unpacked(self.root))

    def test_alike(self):
        self.assertEqual(self.differences(self.text), [])

    def test_every_field_counts(self):
        first, second = "/a dir/ü\r", "/second"
        for old, new, complaints in (
            ("dir 0755", "dir 0750", ["/a dir: mode"]),
            ("size=4", "size=5", [f"{first}: size", f"{second}: size"]),
            (DIGEST, "sha256:00", [f"{first}: digest", f"{second}: digest"]),
            ("fifo 0600 ", "fifo 0600 7", ["/pipe: owner"]),
            ("hardlink 4755", "hardlink 0755", [f"{second}: mode"]),
            ("fifo", "dir", ["/pipe: type"]),
            ("\\x09there", "\\x09where", ["/soft: to"]),
            (DIGEST, DIGEST + " security.capability=\\x01", [f"{first}: xattrs", f"{second}: xattrs"]),
            ("/soft", "/hard", ["/hard: missing", "/soft: not in the tree"]),
            (" 1000 to=to", " 1001 to=to", ["/soft: mtime"]),
        ):
            with self.subTest(old=old, new=new):
                found = self.differences(self.text.replace(old, new, 1))
                self.assertEqual([": ".join(line.split(": ")[:2]) for line in found], complaints)

    def test_copies_are_not_links(self):
        copied = self.text.replace("hardlink", "file").replace("to=/a\\x20dir/ü\\x0d", f"size=4 {DIGEST}")
        self.assertEqual(len(self.differences(copied)), 2)

    def test_attributes(self):
        try:
            os.setxattr(f"{self.root}/a dir", "user.note", b"x\x00=")
        except OSError as error:
            if os.environ.get("CI") == "true":
                raise
            self.skipTest(f"no extended attributes here: {error}")
        self.assertEqual(len(self.differences(self.text)), 1)
        self.assertEqual(self.differences(self.text.replace("1000\n", "1000 user.note=x\\x00=\n", 1)), [])


if __name__ == "__main__":
    unittest.main()
