#!/usr/bin/env python3
"""Times adding files to a base image, against peers, in one run.

append.py WORK ASSEMBLE [--runs N] [--peers DIR] [--base LAYOUT]

WORK is what tests/base/make-base.sh made; ASSEMBLE the release binary. LAYOUT is another base, of the tag "latest", with
kernel modules and layers of gzip: what buildah takes grows with the base, and the one in WORK is a third of a real one.

Each task runs in turn with each tool, several times; printed are the medians, and the medians of the ratios within a
turn. CPU is user and system time of the whole process tree; memory the largest process; written is what the kernel
counted as output to disks. Machines differ and drift, so only the ratios mean anything.

With --peers DIR (made by tests/peers.sh DIR sid) newer umoci and buildah run as well.
"""
import argparse, os, shutil, statistics, subprocess, sys, tempfile, time

TOML = """schema = 1
[image]
name = "bench"
[base]
image = "oci:{base}:latest"
[[stage]]
name = "files"
kind = "files"
source = "{source}"
into = "/usr/share/bench"
[layers]
compression = "{compression}"
[lint]
skip = [
  {{ name = "kernel-modules-match", reason = "modules here are only bytes to move" }},
{skips}]
"""

# For a base given by --base, which may be any tree. The base in WORK passes all lints.
SKIPS = "".join(f'  {{ name = "{lint}", reason = "any tree may be the base" }},\n' for lint in ("forbidden-files", "forbidden-packages"))


def measure(argv, setup=None):
    """Runs argv and gives wall, CPU, peak memory in MiB, and MB written."""
    if setup:
        setup()
    os.sync()
    start = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    wall = time.monotonic() - start
    if status:
        sys.exit(f"{' '.join(argv)} failed:\n{error.decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, usage.ru_oublock * 512 / 1e6


def tree_size(path):
    return sum(os.lstat(os.path.join(d, f)).st_size for d, _, fs in os.walk(path) for f in fs)


def choose(modules, target, into):
    """Copies kernel modules into a directory until they have about `target` bytes."""
    total, count = 0, 0
    for directory, folders, files in os.walk(modules):
        folders.sort()
        for name in sorted(files):
            if not name.endswith(".ko"):
                continue
            source = os.path.join(directory, name)
            place = os.path.join(into, os.path.relpath(source, modules))
            os.makedirs(os.path.dirname(place), exist_ok=True)
            shutil.copy(source, place)
            total, count = total + os.path.getsize(source), count + 1
            if total >= target:
                return total, count
    return total, count


def fresh(path):
    def clear():
        shutil.rmtree(path, ignore_errors=True)
    return clear


def copy_layout(source, path):
    def clone():
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["cp", "-al", source, path], check=True)
        # umoci rewrites the index in place: it must not share the base's.
        for name in ("index.json", "oci-layout"):
            shutil.copy(os.path.join(source, name), os.path.join(path, name + ".new"))
            os.replace(os.path.join(path, name + ".new"), os.path.join(path, name))
    return clone


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("assemble")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers")
    parser.add_argument("--base")
    parser.add_argument("--sizes", default="50,300")
    args = parser.parse_args()
    args.peers = args.peers and os.path.abspath(args.peers)  # the work is done in another directory
    base = os.path.abspath(args.base or os.path.join(args.work, "base"))
    assemble = os.path.abspath(args.assemble)
    scratch = tempfile.mkdtemp(prefix="bench-", dir=args.peers and os.path.join(os.path.abspath(args.peers), "exchange") or os.path.abspath(args.work))
    try:
        run(args, base, assemble, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run(args, base, assemble, scratch):
    unpacked = os.path.join(scratch, "unpacked")
    subprocess.run(["umoci", "unpack", "--image", f"{base}:latest", unpacked], check=True, stdout=subprocess.DEVNULL)
    for megabytes in (int(size) for size in args.sizes.split(",")):
        source = os.path.join(scratch, f"files-{megabytes}")
        size, count = choose(os.path.join(unpacked, "rootfs/usr/lib/modules"), megabytes * 1_000_000, source)
        print(f"\n== {size / 1e6:.0f} MB in {count} files ==", flush=True)
        report(args, bench(args, base, assemble, scratch, source))
        shutil.rmtree(source)


def bench(args, base, assemble, scratch, source):
    out, cache = os.path.join(scratch, "out"), os.path.join(scratch, "cache")
    os.chdir(scratch)
    commands = {}
    for compression in ("zstd", "gzip"):
        recipe = os.path.join(scratch, f"{compression}.toml")
        with open(recipe, "w") as file:
            file.write(TOML.format(base=base, source=os.path.relpath(source, scratch), compression=compression, skips=args.base and SKIPS or ""))
        build = [assemble, "--recipe", recipe, "--cache", cache, "--output", f"oci:{out}:bench"]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # indexes the base
        # The layout has the base already, as the layout of every build but the first has; the new layer is written anew.
        commands[f"assemble {compression}"] = ([*build, "--no-cache"], None)
        if compression == "zstd":
            commands["assemble again"] = (build, None)
    # What looking at every input takes, whatever is done with it.
    commands["find -printf"] = (["find", source, "-printf", "%s %T@ %C@\n"], None)
    pipe = f"tar -C {source} -cf - . | zstd -3 -T2 -q > {scratch}/pipe.tar.zst"
    commands["tar | zstd -3"] = (["sh", "-c", pipe], None)
    # A layout of its own: hard links to the base would change its blobs' state, and assemble would hash them again.
    apart = os.path.join(scratch, "base")
    if not os.path.exists(apart):
        shutil.copytree(base, apart)
    layout = os.path.join(scratch, "umoci")
    insert = ["umoci", "insert", "--image", f"{layout}:latest", source, "/usr/share/bench"]
    commands["umoci insert (gzip)"] = (insert, copy_layout(apart, layout))
    prepare, timed = buildah_scripts(os.path.join(scratch, "storage"), base, source, out + "-buildah")
    if not os.path.exists(os.path.join(scratch, "storage")):
        subprocess.run(["sh", "-c", prepare], check=True, stdout=subprocess.DEVNULL)
    commands["buildah"] = (["sh", "-c", timed], fresh(out + "-buildah"))
    if args.peers:
        newer(args, base, scratch, source, commands)
    # "again" must find what "zstd" left: it runs right behind it. What is compared most closely runs side by side, and
    # buildah, which leaves gigabytes for the system to write, behind all others.
    order = ("assemble gzip", "umoci insert (gzip)", "umoci 0.6 insert (zstd)", "tar | zstd -3", "assemble zstd", "assemble again")
    commands = {name: commands[name] for name in (*order, *commands) if name in commands}
    results = {name: [] for name in commands}
    for _ in range(args.runs):
        for name, (argv, setup) in commands.items():
            if name == "assemble again":
                measure(commands["assemble zstd"][0])
            results[name].append(measure(argv, setup))
    return results


def buildah_scripts(storage, base, source, out):
    """Brings the base into a storage, and what is timed: from, copy, commit and push."""
    b = f"buildah --root {storage}/root --runroot {storage}/run --storage-driver overlay"
    into = f"containers-storage:[overlay@{storage}/root+{storage}/run]localhost/bench-base"
    prepare = f"skopeo copy -q oci:{base}:latest {into}"
    timed = (
        f"set -e; c=$({b} from localhost/bench-base); {b} copy -q $c {source} /usr/share/bench; "
        f"{b} commit -q $c localhost/bench-out; {b} push -q localhost/bench-out oci:{out}:bench; "
        f"{b} rm $c; {b} rmi localhost/bench-out"
    )
    return prepare, timed


def newer(args, base, scratch, source, commands):
    """umoci and buildah of Debian's next release, run in its chroot below the same work directory."""
    here = os.path.dirname(os.path.abspath(__file__))
    peers = [os.path.join(here, "..", "peers.sh"), args.peers, "run", "sid"]
    inside = "/w/" + os.path.basename(scratch)
    layout = os.path.join(scratch, "umoci-newer")
    name = os.path.basename(source)
    insert = ["umoci", "insert", "--compress=zstd", "--image", f"{inside}/umoci-newer:latest", f"{inside}/{name}", "/usr/share/bench"]
    commands["umoci 0.6 insert (zstd)"] = (peers + insert, copy_layout(os.path.join(scratch, "base"), layout))
    prepare, timed = buildah_scripts(f"{inside}/storage-newer", f"{inside}/base", f"{inside}/{name}", f"{inside}/buildah-newer")
    if not os.path.exists(os.path.join(scratch, "storage-newer")):
        if subprocess.run(peers + ["sh", "-c", prepare], stdout=subprocess.DEVNULL).returncode:
            print("newer buildah is left out: its storage does not take the base here", flush=True)
            return
    commands["buildah newer"] = (peers + ["sh", "-c", timed], fresh(os.path.join(scratch, "buildah-newer")))


def report(args, results):
    medians = {name: [statistics.median(column) for column in zip(*runs)] for name, runs in results.items()}

    def times(name, mine, column=1):
        """How often `mine` goes into `name`, turn by turn: a machine that slows down slows both."""
        return statistics.median(a[column] / b[column] for a, b in zip(results[name], results[mine]))

    print(f"{'tool':26} {'wall s':>8} {'cpu s':>8} {'MiB':>7} {'MB out':>8}   wall and cpu as multiples of ours")
    for name, (wall, cpu, memory, written) in medians.items():
        mine = "assemble gzip" if "gzip" in name or "buildah" in name else "assemble zstd"
        mine = "assemble again" if name.startswith("find") else mine
        ratio = "" if name.startswith("assemble") else f"{times(name, mine, 0):7.1f}x {times(name, mine):6.2f}x of {mine}"
        print(f"{name:26} {wall:8.3f} {cpu:8.3f} {memory:7.0f} {written:8.1f}   {ratio}")
    ours, pipe = "assemble zstd", "tar | zstd -3"
    print(f"zstd cpu / (tar | zstd -3): {times(ours, pipe):.3f} (goal: at most 1.05)")
    # What no tool can reach that compresses as well: the pipe neither hashes nor writes an image.
    for name, goal in (("umoci insert (gzip)", 2), ("umoci 0.6 insert (zstd)", 1.3), ("buildah", 18), ("buildah newer", 5)):
        if name in medians:
            print(f"{name} cpu / zstd cpu: {times(name, ours):.2f} (goal: at least {goal}; of the pipe: {times(name, pipe):.2f})")
    wall, written = medians["assemble again"][0] * 1000, medians["assemble again"][3]
    looks = times("assemble again", "find -printf", 0)
    print(f"again: {wall:.0f} ms wall, {looks:.1f} times what find takes, {written:.2f} MB written (goals: 30 ms, 0)")
    print(f"memory: {medians[ours][2]:.0f} MiB (goal: at most 150 MB)", flush=True)


if __name__ == "__main__":
    main()
