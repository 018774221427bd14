"""Writes one OCI image layout: gzip layers in deterministic tar, config, manifest, index."""

import hashlib
import json
import os
import tarfile
import time
import zlib

OCI = "application/vnd.oci.image."
# Compresses 600 MB in seconds; a tenth larger than the level 6 of real bases.
GZIP_LEVEL = 3
BLOCK = 1 << 20


class Blob:
    """A file in blobs/sha256 that is named by its content once it is complete."""

    def __init__(self, layout):
        self.directory = os.path.join(layout, "blobs", "sha256")
        self.temporary = os.path.join(self.directory, f".{os.getpid()}")
        self.file = open(self.temporary, "wb")
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data):
        self.file.write(data)
        self.hash.update(data)
        self.size += len(data)

    def finish(self, media_type):
        self.file.close()
        os.rename(self.temporary, os.path.join(self.directory, self.hash.hexdigest()))
        return {"mediaType": media_type, "digest": "sha256:" + self.hash.hexdigest(), "size": self.size}


class GzipTee:
    """File object: hashes what is written (the diff_id) and passes it on as one gzip member."""

    def __init__(self, blob):
        self.blob = blob
        self.hash = hashlib.sha256()
        self.offset = 0
        # 31: gzip framing; zlib writes no name and the time 0.
        self.gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)

    def write(self, data):
        self.hash.update(data)
        self.offset += len(data)
        self.blob.write(self.gzip.compress(data))
        return len(data)

    def tell(self):
        return self.offset

    def finish(self):
        self.blob.write(self.gzip.flush())
        return "sha256:" + self.hash.hexdigest()


def xattr_header(info):
    """The PAX header member that carries an entry's extended attributes, or None.

    Written by hand because tarfile adds a hdrcharset record to binary values, which not every reader knows.
    """
    body = b""
    for key, value in sorted(info.pax_headers.items()):
        if not key.startswith("SCHILY.xattr.") or key == "SCHILY.xattr.security.selinux":
            continue
        record = b" " + key.encode() + b"=" + value.encode("utf-8", "surrogateescape") + b"\n"
        length = len(record)
        while len(str(length)) + len(record) != length:
            length = len(str(length)) + len(record)
        body += str(length).encode() + record
    if not body:
        return None
    header = tarfile.TarInfo("PaxHeaders/" + os.path.basename(info.name)[:80])
    header.type, header.size, header.mode = tarfile.XHDTYPE, len(body), 0o644
    blocks = -(-len(body) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return header.tobuf(tarfile.USTAR_FORMAT) + body.ljust(blocks, b"\0")


def write_layer(layout, rootfs, entries, epoch):
    """Writes one layer; entries are tarfile.TarInfo whose data lies in the tar file `rootfs`.

    Returns (descriptor, diff_id). Modification times after the epoch become the epoch.
    """
    blob = Blob(layout)
    tee = GzipTee(blob)
    source = os.open(rootfs, os.O_RDONLY)
    # GNU format: long names in their own member instead of PAX, which older clients overlook below etc/.
    for info in entries:
        out = tarfile.TarInfo(info.name)
        out.type, out.linkname, out.size = info.type, info.linkname, info.size
        out.mode, out.uid, out.gid = info.mode & 0o7777, info.uid, info.gid
        out.mtime = min(int(info.mtime), epoch)
        tee.write((xattr_header(info) or b"") + out.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict"))
        for offset in range(0, out.size, BLOCK):
            tee.write(os.pread(source, min(BLOCK, out.size - offset), info.offset_data + offset))
        tee.write(bytes(-out.size % tarfile.BLOCKSIZE))
    tee.write(bytes(2 * tarfile.BLOCKSIZE))
    os.close(source)
    diff_id = tee.finish()
    return blob.finish(OCI + "layer.v1.tar+gzip"), diff_id


def write_json(layout, value, media_type):
    blob = Blob(layout)
    blob.write(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())
    return blob.finish(media_type)


def write_image(layout, layers, labels, epoch):
    """Writes config, manifest and index for layers given as (name, descriptor, diff_id), lowest first."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    config = {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/sbin/init"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, _, diff_id in layers]},
        "history": [{"created": created, "created_by": name} for name, _, _ in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": write_json(layout, config, OCI + "config.v1+json"),
        # The annotation by which real bases name what is in a layer.
        "layers": [{**descriptor, "annotations": {"ostree.components": name}} for name, descriptor, _ in layers],
        "annotations": labels,
    }
    descriptor = write_json(layout, manifest, manifest["mediaType"])
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    descriptor["platform"] = {"architecture": "amd64", "os": "linux"}
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [descriptor]}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        with open(os.path.join(layout, name), "w", encoding="ascii") as file:
            json.dump(value, file, separators=(",", ":"), sort_keys=True)
