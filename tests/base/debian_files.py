"""Which Debian package a path of the root file system came from."""

INFO = "usr/lib/dpkg/info/"
# Merged /usr: packages still list the short names.
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def canonical(listed):
    """The path in the tree for a path as dpkg lists it, without leading slash."""
    path = listed.strip("/")
    top, slash, below = path.partition("/")
    return MERGED[top] + slash + below if top in MERGED else path


def owners(lists):
    """Map of path to package name, from (file name, text) pairs of dpkg's *.list files.

    Many packages own a directory; it goes to the first by name, as every other path does.
    """
    owner = {}
    for name, text in sorted(lists):
        package = name.removeprefix(INFO).removesuffix(".list").partition(":")[0]
        for line in text.splitlines():
            owner.setdefault(canonical(line), package)
    return owner


def component(path, owner, kernel):
    """The part of the image that a path belongs to: a package or one of four parts that are not packages."""
    modules = f"usr/lib/modules/{kernel}/"
    if path == modules + "initramfs.img":
        return "initramfs"
    if path.startswith(modules) or path.startswith("usr/lib/modules/"):
        return "kernel"
    if path.startswith("etc/"):
        return "etc"
    return owner.get(path, "generated")


# Parts that have a layer of their own; they come before the packages, in this order.
ALONE = ("etc", "kernel", "initramfs", "generated")


def pack(sizes, bins):
    """Splits packages into groups of similar size: the largest first, each into the lightest group.

    `sizes` maps package to bytes. The result is a list of lists of names, sorted, without empty groups.
    """
    groups = [(0, index, []) for index in range(bins)]
    for package in sorted(sizes, key=lambda name: (-sizes[name], name)):
        size, index, names = min(groups, key=lambda group: group[:2])
        groups[index] = (size + sizes[package], index, names + [package])
    return [sorted(names) for _, _, names in groups if names]
