#!/usr/bin/env python3
"""Says whether two readers see the same in a layer: list-layer.py BLOB...

Lists every blob with Python's tarfile and with GNU tar and compares type, mode, owner, size, time, name and
link target of every entry in order. Also demands one gzip member or one zstd frame, as bootc reads no further
than that. Prints what differs and exits 1, or prints the number of entries.
"""

import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import time
import zlib

GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
TYPES = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


class Refused(Exception):
    """The blob is not what a layer should be."""


def decompressed(path):
    """The tar bytes of a blob that is plain, or one gzip member, or one zstd frame."""
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(GZIP_MAGIC):
        stream = zlib.decompressobj(31)
        plain = stream.decompress(data)
        if not stream.eof:
            raise Refused("the gzip member is cut off")
        if stream.unused_data:
            raise Refused(f"{len(stream.unused_data)} bytes after the first gzip member")
        return plain
    if data.startswith(ZSTD_MAGIC):
        listing = subprocess.run(["zstd", "-lv", path], capture_output=True, text=True, check=True)
        text = listing.stdout + listing.stderr
        frames = re.search(r"# Zstandard Frames: (\d+)", text)
        skippable = re.search(r"# Skippable Frames: (\d+)", text)
        if not frames or frames[1] != "1" or (skippable and skippable[1] != "0"):
            raise Refused("not exactly one zstd frame")
        return subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
    return data


def escaped(name):
    """A name as GNU tar's quoting style "escape" shows it in the C locale."""
    letters = {0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r", 0x5C: "\\\\"}
    out = ""
    for byte in name.encode("utf-8", "surrogateescape"):
        out += letters.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}")
    return out


def python_listing(plain):
    """The entries as lines in GNU tar's form, as tarfile reads them."""
    lines = []
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", errorlevel=2) as tar:
        for info in tar:
            mode = stat.filemode(TYPES.get(info.type, 0) | info.mode)
            if info.islnk():
                mode = "h" + mode[1:]
            # GNU tar shows the numbers of a device where others have their size.
            size = f"{info.devmajor},{info.devminor}" if info.isdev() and not info.isfifo() else str(info.size)
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(info.mtime)))
            name = escaped(info.name) + ("/" if info.isdir() else "")
            if info.issym():
                name += " -> " + escaped(info.linkname)
            elif info.islnk():
                name += " link to " + escaped(info.linkname)
            lines.append(f"{mode} {info.uid}/{info.gid} {size} {moment} {name}")
    return lines


def gnu_listing(path):
    """The entries as lines, as GNU tar reads the blob itself, compression included."""
    command = ["tar", "--numeric-owner", "--full-time", "--quoting-style=escape", "-tvf", path]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"})
    if done.returncode or done.stderr:
        raise Refused("GNU tar: " + done.stderr.strip())
    # Columns are padded; fractions of a second are not compared.
    pattern = re.compile(r"^(\S+) +(\S+) +(\S+) (\S+ \d\d:\d\d:\d\d)(?:\.\d+)? (.*)$")
    return [" ".join(pattern.match(line).groups()) for line in done.stdout.splitlines()]


def compare_listings(ours, theirs):
    """Number of entries; raises Refused with the first difference."""
    for python, gnu in zip(ours, theirs):
        if python != gnu:
            raise Refused(f"readers differ:\n  tarfile {python}\n  GNU tar {gnu}")
    if len(ours) != len(theirs):
        raise Refused(f"tarfile sees {len(ours)} entries, GNU tar {len(theirs)}")
    if not ours:
        raise Refused("no entries")
    return len(ours)


def compare(path):
    """Number of entries of the layer in the file; raises Refused where readers differ."""
    return compare_listings(python_listing(decompressed(path)), gnu_listing(path))


def main():
    failed = False
    entries = 0
    for path in sys.argv[1:]:
        try:
            entries += compare(path)
        except (Refused, OSError, tarfile.TarError, zlib.error, subprocess.CalledProcessError) as error:
            print(f"{os.path.basename(path)}: {error}")
            failed = True
    print(f"{entries} entries in {len(sys.argv) - 1} layers")
    sys.exit(1 if failed or not sys.argv[1:] else 0)


if __name__ == "__main__":
    main()
