#!/usr/bin/env python3
"""Says whether an unpacked root file system is the tree that a text describes: compare-tree.py TREE ROOTFS

TREE is what "assemble inspect IMAGE --tree" prints, ROOTFS a directory that another tool unpacked the image into, as
root. Compares names, types, modes, owners, times, sizes, digests, link targets, device numbers, which names are one
file, and extended attributes. Prints what differs and exits 1, or prints the number of inodes.
"""

import hashlib
import os
import re
import stat
import sys

# At most so many differences are printed; the rest is counted.
SHOWN = 20
# File systems and policies of the machine put these on files by themselves.
OWN_ATTRIBUTES = (b"security.selinux", b"security.ima", b"system.posix_acl_access")
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def unescape(text):
    """The bytes of a name, target or attribute; the text has \\xNN for what is not printable."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode("utf-8"))


def described_inode(words):
    """One line's fields after the path: what the inode is, by field."""
    kind, mode, owner, mtime, *rest = words
    inode = {"type": kind, "mode": int(mode, 8), "owner": owner, "mtime": int(mtime)}
    if kind == "file":
        inode["size"] = int(rest.pop(0).removeprefix("size="))
        inode["digest"] = rest.pop(0)
    elif kind in ("symlink", "hardlink"):
        inode["to"] = unescape(rest.pop(0).removeprefix("to="))
    elif kind in ("char", "block"):
        inode["device"] = rest.pop(0)
    inode["xattrs"] = {unescape(name): unescape(value) for name, _, value in (word.partition("=") for word in rest)}
    return inode


def described(text):
    """Map of path to inode, from the text of a tree; second names of a file have the fields of its content."""
    tree = {}
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            path, *words = line.split(" ")
            tree[unescape(path)] = described_inode(words)
    names = {}
    for path, inode in tree.items():
        if inode["type"] == "hardlink":
            names.setdefault(inode.pop("to"), []).append(path)
    for first, others in names.items():
        group = sorted([first, *others])
        for path in group:
            same = {key: tree[first][key] for key in ("type", "size", "digest", "xattrs")}
            tree[path].update(same, names=group)
    return tree


def digest(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def unpacked_inode(path, info):
    """What the inode at a path of this machine is, by field."""
    kind = TYPES[stat.S_IFMT(info.st_mode)]
    inode = {
        "type": kind,
        "mode": stat.S_IMODE(info.st_mode),
        "owner": f"{info.st_uid}:{info.st_gid}",
        "mtime": info.st_mtime_ns // 10**9,
        "xattrs": {
            os.fsencode(name): os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
            if os.fsencode(name) not in OWN_ATTRIBUTES
        },
    }
    if kind == "file":
        inode.update(size=info.st_size, digest=digest(path))
    elif kind == "symlink":
        inode["to"] = os.readlink(path)
    elif kind in ("char", "block"):
        inode["device"] = f"{os.major(info.st_rdev)},{os.minor(info.st_rdev)}"
    return inode


def unpacked(root):
    """Map of path to inode, from a directory; the root itself is "/"."""
    root = os.fsencode(root)
    tree, names = {}, {}
    pending = [b"/"]
    while pending:
        path = pending.pop()
        place = root + path
        info = os.lstat(place)
        tree[path] = unpacked_inode(place, info)
        if tree[path]["type"] == "dir":
            pending += [path.rstrip(b"/") + b"/" + name for name in os.listdir(place)]
        elif info.st_nlink > 1:
            names.setdefault((info.st_dev, info.st_ino), []).append(path)
    for group in map(sorted, names.values()):
        for path in group:
            tree[path]["names"] = group
    return tree


def differences(expected, found):
    """Lines that say what differs, in the order of the paths."""
    lines = []
    # Few images say anything of the root directory itself.
    if b"/" not in expected:
        found = {path: inode for path, inode in found.items() if path != b"/"}
    for path in sorted(expected.keys() | found.keys()):
        name = path.decode("utf-8", "backslashreplace")
        if path not in found:
            lines.append(f"{name}: missing")
        elif path not in expected:
            lines.append(f"{name}: not in the tree")
        else:
            ours, theirs = expected[path], found[path]
            for field in sorted(ours.keys() | theirs.keys()):
                if ours.get(field) != theirs.get(field):
                    lines.append(f"{name}: {field}: expected {ours.get(field)}, found {theirs.get(field)}")
    return lines


def main():
    text, root = sys.argv[1:]
    # Universal newlines would take a carriage return in a name for the end of a line.
    with open(text, encoding="utf-8", newline="\n") as file:
        expected = described(file.read())
    if not expected:
        sys.exit("compare-tree: the tree is empty")
    lines = differences(expected, unpacked(root))
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN} more differences")
    print(f"{len(expected)} inodes, {len(lines)} differences")
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()
