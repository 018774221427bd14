#!/usr/bin/env python3
"""Makes OCI layouts of trees for the rechunking benchmark.

layouts.py image ROOTFS.tar OUT [--rpm]   one image of one layer, as an installer leaves it; OUT.rpmdb is rpm's database
layouts.py small BASE OUT [FOLDER]        the image in layout BASE with a file of ten bytes in /usr/lib, or FOLDER, on top
layouts.py app BASE OUT                   the image in layout BASE with /opt/app on top: a file of 100 MB and small ones
layouts.py modules BASE ROOTFS.tar OUT    the image in layout BASE with 50 MB of kernel modules and new indexes on top

With --rpm the tree has an rpm database in the place of dpkg's: the same packages, with source packages, build times and
the times of their changelogs, written by rpm itself. Blobs are zstd, level 3.
"""
import copy, gzip, hashlib, importlib.util, io, json, os, re, shutil, sqlite3, struct, subprocess, sys, tarfile, tempfile, time
from email.utils import parsedate_to_datetime

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "base"))
import debian_files  # noqa: E402
import oci_layout  # noqa: E402

MODULES = 50_000_000
RPMDB = "usr/lib/sysimage/rpm/rpmdb.sqlite"


def load_split_layers():
    """The module split-layers.py, whose name no import statement can spell."""
    spec = importlib.util.spec_from_file_location("split_layers", os.path.join(HERE, "..", "..", "base", "split-layers.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ZstdTee:
    """File object: hashes what is written (the diff_id) and passes it on to zstd."""

    def __init__(self, layout):
        self.path = os.path.join(layout, "blobs", "sha256", f".{os.getpid()}")
        self.hash, self.file = hashlib.sha256(), open(self.path, "wb")
        self.process = subprocess.Popen(["zstd", "-3", "-q", "-c"], stdin=subprocess.PIPE, stdout=self.file)

    def write(self, data):
        self.hash.update(data)
        self.process.stdin.write(data)
        return len(data)

    def finish(self, layout):
        self.process.stdin.close()
        if self.process.wait():
            sys.exit("layouts: zstd failed")
        self.file.close()
        digest = subprocess.run(["sha256sum", self.path], capture_output=True, text=True, check=True).stdout.split()[0]
        target = os.path.join(layout, "blobs", "sha256", digest)
        os.rename(self.path, target)
        descriptor = {"mediaType": oci_layout.OCI + "layer.v1.tar+zstd", "digest": "sha256:" + digest, "size": os.path.getsize(target)}
        return descriptor, "sha256:" + self.hash.hexdigest()


def write_layer(layout, members):
    """Writes (TarInfo, bytes or None) as a layer; headers as those of the test base."""
    tee = ZstdTee(layout)
    for info, data in members:
        out = tarfile.TarInfo(info.name)
        out.type, out.linkname, out.size = info.type, info.linkname, len(data) if data is not None else 0
        out.mode, out.uid, out.gid, out.mtime = info.mode & 0o7777, info.uid, info.gid, int(info.mtime)
        tee.write((oci_layout.xattr_header(info) or b"") + out.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict"))
        if data:
            tee.write(data)
            tee.write(bytes(-len(data) % tarfile.BLOCKSIZE))
    tee.write(bytes(2 * tarfile.BLOCKSIZE))
    return tee.finish(layout)


def labels():
    return {"containers.bootc": "1", "org.opencontainers.image.version": "12"}


def image(rootfs, out, rpm):
    split_layers = load_split_layers()
    os.makedirs(os.path.join(out, "blobs", "sha256"))
    source = os.open(rootfs, os.O_RDONLY)
    with tarfile.open(rootfs, "r:", tarinfo=split_layers.Entry) as tar:
        entries = split_layers.read_rootfs(tar)
        extra = {}
        if rpm:
            extra = {RPMDB: rpm_database(tar, entries)}
            with open(f"{out}.rpmdb", "wb") as database:
                database.write(extra[RPMDB])
            entries = {path: info for path, info in entries.items() if not path.startswith("usr/lib/dpkg/")}
    def members():
        for info in split_layers.layer_entries(entries, list(entries)):
            data = os.pread(source, info.size, info.offset_data) if info.isreg() else None
            while data is not None and len(data) < info.size:
                data += os.pread(source, info.size - len(data), info.offset_data + len(data))
            yield info, data
        for path, data in extra.items():
            yield from parents(path, entries)
            yield file(path, time.time()), data
    layer = write_layer(out, members())
    oci_layout.write_image(out, [("system", *layer)], labels(), int(time.time()))


def parents(path, known):
    """Directories above a path that are not there yet."""
    above = []
    while path := os.path.dirname(path):
        if path not in known:
            above.append(path)
    for directory in reversed(above):
        info = tarfile.TarInfo(directory)
        info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, time.time()
        yield info, None


def file(path, mtime, mode=0o644):
    info = tarfile.TarInfo(path)
    info.mode, info.mtime = mode, mtime
    return info


def on_top(base, out, members):
    """The image of one layer in BASE with another layer; blobs are shared."""
    shutil.copytree(base, out, copy_function=os.link)
    index = json.load(open(os.path.join(out, "index.json")))
    for name in ("index.json", "oci-layout"):
        os.unlink(os.path.join(out, name))
    blob = lambda digest: json.load(open(os.path.join(out, "blobs", "sha256", digest[7:])))
    manifest = blob(index["manifests"][0]["digest"])
    config = blob(manifest["config"]["digest"])
    layers = [("system", {k: v for k, v in layer.items() if k != "annotations"}, diff_id)
              for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"])]
    layers.append(("added", *write_layer(out, members)))
    oci_layout.write_image(out, layers, labels(), int(time.time()))


def small(base, out, folder="usr/lib"):
    on_top(base, out, [*parents(f"{folder}/x", {}), (file(f"{folder}/ten-bytes", time.time()), b"0123456789")])


def noise(name, size):
    """Bytes that do not compress, the same for a name."""
    return hashlib.shake_128(name.encode()).digest(size)


def app(base, out):
    members = list(parents("opt/app/data/x", {}))
    members.append((file("opt/app/app", time.time(), 0o755), noise("app", 100_000_000)))
    members += [(file(f"opt/app/data/{number:02}", time.time()), noise(str(number), 10_000)) for number in range(20)]
    on_top(base, out, members)


def modules(base, rootfs, out):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(out))) as work:
        subprocess.run(["tar", "-C", work, "-xf", rootfs, "./usr/lib/modules"], check=True)
        root = os.path.join(work, "usr/lib/modules")
        (release,) = os.listdir(root)
        added, total = {}, 0
        for directory, folders, files in os.walk(os.path.join(root, release, "kernel", "drivers")):
            folders.sort()
            for name in sorted(files):
                if name.endswith(".ko") and total < MODULES:
                    path = os.path.join(directory, name)
                    # Not the bytes that are there already: a build of one's own.
                    data = bytearray(open(path, "rb").read())
                    data[-64:] = hashlib.sha512(bytes(data)).digest()
                    added[f"{release}/extra/own/own_{name}"], total = bytes(data), total + len(data)
        for path, data in added.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "wb") as target:
                target.write(data)
        os.symlink("usr/lib", os.path.join(work, "lib"))
        subprocess.run(["depmod", "-b", work, release], check=True)
        names = ("alias", "builtin.alias", "builtin", "dep", "devname", "softdep", "symbols")
        for name in [f"modules.{name}{end}" for name in names for end in ("", ".bin")]:
            path = os.path.join(root, release, name)
            if os.path.exists(path) and name != "modules.builtin":
                added[f"{release}/{name}"] = open(path, "rb").read()
        prefix = "usr/lib/modules/"
        members = list(parents(f"{prefix}{release}/extra/own/x", {}))
        members += [(file(prefix + path, time.time()), data) for path, data in sorted(added.items())]
        on_top(base, out, members)


# --- rpm

TYPES = {"int32": 4, "string": 6, "strings": 8, "i18n": 9}
# HEADERIMMUTABLE, the tag of the region, and the type of its value.
REGION, BINARY = 63, 7


def header(tags, installed):
    """A header blob as rpm's database has it: index, then store. `tags` maps tag to (type, value), sorted by tag: they came
    with the package, in the region that signatures cover. `installed` are those that rpm adds behind it."""
    index, store = b"", b""

    def add(tags):
        nonlocal index, store
        for tag, (kind, value) in sorted(tags.items()):
            if kind == "int32":
                store += bytes(-len(store) % 4)
                data, count = struct.pack(f">{len(value)}I", *value), len(value)
            elif kind == "strings":
                data, count = b"".join(text.encode() + b"\0" for text in value), len(value)
            else:
                data, count = value.encode() + b"\0", 1
            index += struct.pack(">IIII", tag, TYPES[kind], len(store), count)
            store += data

    add(tags)
    index = struct.pack(">IIII", REGION, BINARY, len(store), 16) + index
    store += struct.pack(">IIiI", REGION, BINARY, -len(index), 16)
    add(installed)
    return struct.pack(">II", len(index) // 16, len(store)) + index + store


def changelog_times(tar, entries, package):
    for name in (f"usr/share/doc/{package}/changelog.Debian.gz", f"usr/share/doc/{package}/changelog.gz"):
        if name in entries and entries[name].isreg():
            text = gzip.decompress(tar_bytes(tar, entries[name])).decode(errors="replace")
            times = []
            for line in re.findall(r"^ -- .*?>  (.*)$", text, re.M):
                try:
                    times.append(int(parsedate_to_datetime(line).timestamp()))
                except (ValueError, TypeError):
                    continue
            if times:
                return [moment for moment in times if moment > 0][:200]
    return []


def tar_bytes(tar, info):
    tar.fileobj.seek(info.offset_data)
    return tar.fileobj.read(info.size)


def rpm_database(tar, entries):
    """The bytes of rpm's SQLite database for the packages that dpkg knows: rpm makes it of their headers, with all its
    indexes. Installed now: each package has the time."""
    stanzas = tar_bytes(tar, entries["usr/lib/dpkg/status"]).decode().split("\n\n")
    folder = tempfile.TemporaryDirectory()
    place = os.path.join(folder.name, "rpmdb.sqlite")
    database = sqlite3.connect(place)
    database.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    now = int(time.time())
    for stanza in stanzas:
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        if "Package" not in fields:
            continue
        name, full = fields["Package"], fields["Version"]
        epoch, _, rest = full.rpartition(":")
        version, dash, release = rest.rpartition("-")
        version, release = (version, release) if dash else (rest, "1")
        version = version.replace("-", "_")
        lists = [f"usr/lib/dpkg/info/{name}:{fields['Architecture']}.list", f"usr/lib/dpkg/info/{name}.list"]
        lists = [path for path in lists if path in entries]
        lines = tar_bytes(tar, entries[lists[0]]).decode().splitlines() if lists else []
        paths = sorted({debian_files.canonical(line) for line in lines} & entries.keys())
        built = max([int(entries[path].mtime) for path in paths if entries[path].isreg()] or [now])
        # Scripts may have touched a file since; the package itself is no younger than its changelog.
        times = changelog_times(tar, entries, name)
        built = min(built, max(times) + 30 * 86400) if times else built
        source = fields.get("Source", name).split()[0]
        folders = sorted({"/" + os.path.dirname(path) + ("/" if "/" in path else "") for path in paths})
        number = {folder: index for index, folder in enumerate(folders)}
        tags = {
            1000: ("string", name), 1001: ("string", version), 1002: ("string", release),
            1004: ("i18n", name), 1005: ("i18n", name), 1006: ("int32", [built]),
            1009: ("int32", [int(fields.get("Installed-Size", 0)) * 1024 % 2**32]), 1014: ("string", "Debian"),
            1021: ("string", "linux"), 1022: ("string", "x86_64"), 1044: ("string", f"{source}-{version}-{release}.src.rpm"),
        }
        installed = {1008: ("int32", [now]), 1128: ("int32", [now])}
        if epoch:
            tags[1003] = ("int32", [int(epoch)])
        if times:
            tags[1080] = ("int32", times)
            tags[1081] = ("strings", ["x"] * len(times))
            tags[1082] = ("strings", ["x"] * len(times))
        if paths:
            tags[1116] = ("int32", [number["/" + os.path.dirname(path) + ("/" if "/" in path else "")] for path in paths])
            tags[1117] = ("strings", [os.path.basename(path) for path in paths])
            tags[1118] = ("strings", folders)
        database.execute("INSERT INTO Packages (blob) VALUES (?)", (header(tags, installed),))
    database.commit()
    database.close()
    with folder:
        subprocess.run(["rpm", "--dbpath", folder.name, "--rebuilddb"], check=True)
        # What its log has is brought into the file, as assemble does it for a database that packages changed.
        database = sqlite3.connect(place)
        database.execute("PRAGMA journal_mode = DELETE")
        database.close()
        with open(place, "rb") as done:
            return done.read()


def main():
    match sys.argv[1:]:
        case ["image", rootfs, out]:
            image(rootfs, out, False)
        case ["image", rootfs, out, "--rpm"]:
            image(rootfs, out, True)
        case ["small", base, out, *folder]:
            small(base, out, *folder)
        case ["app", base, out]:
            app(base, out)
        case ["modules", base, rootfs, out]:
            modules(base, rootfs, out)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
