#!/usr/bin/env python3
"""Turns Debian packages into one spec file with an RPM for each: debian_rpms.py ARCHIVES ROOT OUT

ARCHIVES holds the .deb files whose trees are unpacked together in ROOT. Written are OUT/userland.spec, OUT/files (the
paths that it packs) and OUT/names (the RPMs of a base image). The packages keep name, version and modes; all belongs to
root, and /etc is configuration. Dependencies are lost: whoever installs the packages names them all. Documentation,
translations and all of /var are left out.
"""

import multiprocessing
import os
import subprocess
import sys
import tarfile

# Packages of the tree that builds, or of Debian's own installation: not in any RPM.
NOT_CONVERTED = frozenset(
    """adduser base-files base-passwd bzip2 createrepo-c dash debconf debianutils debugedit dirmngr dpkg dpkg-dev gnupg
    gnupg-l10n gpg-agent gpgsm init-system-helpers libasan8 libcreaterepo-c1 libdpkg-perl libdrpm0 libgcc-14-dev
    libgdbm-compat4t64 libgdbm6t64 libhwasan0 libitm1 liblsan0 libpam-runtime libperl5.40 libquadmath0 libtsan2
    libubsan1 media-types netbase patch perl perl-base perl-modules-5.40 pinentry-curses libcc1-0
    libgprofng0""".split()
)
# RPMs that are not in the base image: name -> (Debian packages that they consist of, header lines).
EXTRAS = {
    "gcc": (
        frozenset(
            """binutils binutils-common binutils-x86-64-linux-gnu cpp cpp-14 cpp-14-x86-64-linux-gnu
            cpp-x86-64-linux-gnu gcc gcc-14 gcc-14-x86-64-linux-gnu gcc-x86-64-linux-gnu libbinutils libctf-nobfd0
            libctf0 libisl23 libjansson4 libmpc3 libmpfr6 libsframe1""".split()
        ),
        (),
    ),
    "make": (frozenset(["make"]), ()),
    "dkms": (frozenset(["dkms"]), ("Requires: gcc, make, kmod", "Recommends: openssl")),
}
# Files of RPMs that Debian's maintainer scripts would have made, as symbolic links: RPM -> {path: target}.
LINKS = {"bash": {"usr/bin/sh": "bash"}, "mawk": {"usr/bin/awk": "mawk"}}
# Directories that packages own below /var, which is dropped otherwise.
DIRECTORIES = {"dkms": ["var/lib/dkms"]}
CAPABILITIES = {"usr/bin/ping": "cap_net_raw=p"}
PROVIDES = {
    "bash": "/bin/sh /bin/bash",
    "kmod": "/sbin/depmod",
    "libc-bin": "/sbin/ldconfig",
    "libc6": "libc.so.6()(64bit) ld-linux-x86-64.so.2()(64bit) rtld(GNU_HASH)",
}
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
DROPPED = (
    *("var/", "run/", "etc/init.d/", "etc/cron.", "etc/apt/", "etc/kernel/", "etc/dpkg/"),
    *(
        f"usr/share/{name}/"
        for name in """bash-completion bug common-licenses debconf doc doc-base gdb info initramfs-tools lintian locale
        man perl5 zsh""".split()
    ),
    "usr/lib/python3/dist-packages/hawkey/test/",
    # 33 MB: compiles at link time.
    "usr/libexec/gcc/x86_64-linux-gnu/14/lto1",
    # Plugins of rpm that need services or rights a container has not; "unshare" is a package of its own.
    *("usr/lib/x86_64-linux-gnu/rpm-plugins/", "usr/lib/rpm/macros.d/macros.transaction_"),
)
UNSHARE = ("usr/lib/x86_64-linux-gnu/rpm-plugins/unshare.so", "usr/lib/rpm/macros.d/macros.transaction_unshare")


def canonical(listed):
    """The path in the merged tree for a path as a package lists it, without leading slash."""
    path = listed.removeprefix("./").strip("/")
    top, slash, below = path.partition("/")
    return MERGED[top] + slash + below if top in MERGED else path


def version(text):
    """The lines Epoch, Version and Release for a Debian version."""
    epoch, colon, rest = text.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "1"
    lines = ["Version: " + upstream.replace("-", "_"), "Release: " + revision]
    return (["Epoch: " + epoch] if colon else []) + lines


def read_package(deb, root):
    """(name, Debian version, members); members are (path, mode) of files and links."""
    fields = subprocess.run(["dpkg-deb", "-f", deb, "Package", "Version"], capture_output=True, text=True, check=True)
    name, number = (line.partition(": ")[2] for line in fields.stdout.splitlines())
    members = []
    if name in NOT_CONVERTED:
        return name, number, members
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            for info in tar:
                path = canonical(info.name)
                if info.isdir() or path.startswith(DROPPED):
                    continue
                # Root alone exists before the first package; what is set-id for others is not, then.
                mode = info.mode & (0o7777 if (info.uid, info.gid) == (0, 0) else 0o777)
                members.append((path, mode))
                directory, base = os.path.split(path)
                # Compiled beforehand, as the packages of RPM distributions are: running dnf then writes none.
                compiled = f"{directory}/__pycache__/{base.removesuffix('.py')}.cpython-313.pyc"
                if base.endswith(".py") and os.path.exists(os.path.join(root, compiled)):
                    members.append((compiled, 0o644))
    if process.returncode != 0:
        sys.exit(f"debian_rpms: {deb}: dpkg-deb failed")
    return name, number, members


def file_lines(members):
    """The lines of %files; rpmbuild keeps the mode of a link, so that it gets none."""
    for path, mode in sorted(members):
        quoted = path.replace("%", "%%")
        words = ["%config(noreplace)"] if path.startswith("etc/") else []
        if mode != 0o777:
            words.append(f"%attr({mode:o},root,root)")
        if path in CAPABILITIES:
            words.append(f"%caps({CAPABILITIES[path]})")
        yield " ".join([*words, f'"/{quoted}"'])


def subpackage(name, number, members, header=()):
    """The sections of one RPM."""
    lines = [f"%package -n {name}", *version(number), f"Summary: {name}, as Debian has it", "AutoReqProv: no"]
    if name in PROVIDES:
        lines.append("Provides: " + PROVIDES[name])
    directories = [f"%dir /{path}" for path in DIRECTORIES.get(name, ())]
    lines += [*header, f"%description -n {name}", "Converted."]
    return [*lines, f"%files -n {name}", *file_lines(members), *directories, ""]


def sections(packages):
    """Map of RPM to (Debian version, members, header lines) from what read_package gave of all packages."""
    rpms = {}
    for name, number, members in packages:
        if not members:
            continue
        target, header = name, ()
        for extra, (parts, lines) in EXTRAS.items():
            if name in parts:
                target, header = extra, lines
        before = rpms.get(target, (number, [], header))
        links = [(path, 0o777) for path in LINKS.get(name, ())]
        # The version of a group is that of the package it is named after.
        rpms[target] = (number if name == target else before[0], before[1] + members + links, header)
    number = rpms["librpm10"][0]
    rpms["rpm-plugin-unshare"] = (number, [(path, 0o644) for path in UNSHARE], ())
    return rpms


def main():
    archives, root, out = sys.argv[1:]
    debs = sorted(os.path.join(archives, name) for name in os.listdir(archives) if name.endswith(".deb"))
    with multiprocessing.Pool() as pool:
        rpms = sections(pool.starmap(read_package, [(deb, root) for deb in debs]))
    spec = [
        "Name: userland",
        "Version: 1",
        "Release: 1",
        "Summary: Debian packages as RPMs",
        "License: LicenseRef-Debian",
        "%description",
        "Debian packages as RPMs.",
        "%install",
        f"tar -C {root} -c -T {out}/files | tar -x -C %{{buildroot}}",
    ]
    for links in LINKS.values():
        spec += [f"ln -s {target} %{{buildroot}}/{path}" for path, target in links.items()]
    spec += [f"mkdir -p %{{buildroot}}/{path}" for paths in DIRECTORIES.values() for path in paths]
    made = {path for links in LINKS.values() for path in links}
    paths = set()
    for name, (number, members, header) in sorted(rpms.items()):
        spec += subpackage(name, number, members, header)
        paths |= {path for path, _ in members}
    with open(os.path.join(out, "userland.spec"), "w", encoding="utf-8") as file:
        file.write("\n".join(spec))
    with open(os.path.join(out, "files"), "w", encoding="utf-8") as file:
        file.writelines(path + "\n" for path in sorted(paths - made))
    with open(os.path.join(out, "names"), "w", encoding="utf-8") as file:
        file.writelines(name + "\n" for name in sorted(rpms) if name not in EXTRAS and name != "rpm-plugin-unshare")


if __name__ == "__main__":
    main()
