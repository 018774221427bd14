#!/usr/bin/env python3
"""Times pushes to a registry on this machine, against skopeo, in one run.

push.py WORK ASSEMBLE [--runs N] [--layers 64] [--megabytes 1000]

WORK gets the image that is pushed, made of random bytes from a fixed seed, and is kept clean; ASSEMBLE is the release
binary. Each tool pushes to a registry (docker-registry) of its own: the image for the first time, the same again, and the
image with one layer more. Medians are printed with their ratio. Machines differ and drift, so only the ratios mean anything.
"""
import argparse, gzip, hashlib, io, json, os, random, shutil, socket, statistics, subprocess, sys, tarfile, tempfile, time

GOALS = {"first push": 1.0, "no change": 0.5, "one new layer": 0.5}


class Layout:
    """An OCI layout, written by hand so that neither tool judges itself."""

    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.join(path, "blobs/sha256"))
        self.entries = []

    def blob(self, media_type, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.path, "blobs/sha256", digest), "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    def layer(self, number, size, numbers):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            entry = tarfile.TarInfo(f"usr/share/bench/{number}")
            entry.size = size
            tar.addfile(entry, io.BytesIO(numbers.randbytes(size)))
        data = plain.getvalue()
        diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
        return self.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(data, 1, mtime=0)), diff_id

    def image(self, tag, layers):
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.blob("application/vnd.oci.image.config.v1+json", json.dumps(config).encode()),
            "layers": [layer for layer, _ in layers],
        }
        entry = self.blob(manifest["mediaType"], json.dumps(manifest).encode())
        self.entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag}})

    def finish(self):
        with open(os.path.join(self.path, "oci-layout"), "w") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')
        with open(os.path.join(self.path, "index.json"), "w") as file:
            json.dump({"schemaVersion": 2, "manifests": self.entries}, file)


class Registry:
    """docker-registry on a free port."""

    def __init__(self, path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.host, self.path = f"127.0.0.1:{port}", path
        os.makedirs(path)
        with open(os.path.join(path, "config.yml"), "w") as file:
            file.write(
                "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                f"storage: {{filesystem: {{rootdirectory: {path}/data}}}}\nhttp: {{addr: '{self.host}'}}\n"
            )

    def __enter__(self):
        command = ["docker-registry", "serve", os.path.join(self.path, "config.yml")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(self.host.split(":")[1]))) == 0:
                    return self.host
            time.sleep(0.05)
        sys.exit("docker-registry does not start")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.path)


def measure(argv, environment):
    """Runs argv and gives wall seconds, CPU seconds and peak MiB of it alone."""
    os.sync()
    start = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        sys.exit(f"{' '.join(argv)} failed:\n{error.decode(errors='replace')}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("assemble")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=64)
    parser.add_argument("--megabytes", type=int, default=1000)
    args = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="push-", dir=os.path.abspath(args.work))
    try:
        run(args, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run(args, scratch):
    layout, numbers = Layout(os.path.join(scratch, "image")), random.Random(5)
    size = args.megabytes * 1_000_000 // args.layers
    layers = [layout.layer(number, size, numbers) for number in range(args.layers + 1)]
    layout.image("old", layers[:-1])
    layout.image("new", layers)
    layout.finish()
    environment = {"PATH": os.environ["PATH"], "HOME": scratch, "XDG_CACHE_HOME": os.path.join(scratch, "cache")}
    tools = {
        "assemble": lambda tag, host: [os.path.abspath(args.assemble), "push", f"oci:{layout.path}:{tag}", f"docker://{host}/bench:latest", "--insecure"],
        "skopeo": lambda tag, host: ["skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout.path}:{tag}", f"docker://{host}/bench:latest"],
    }
    results = {task: {tool: [] for tool in tools} for task in GOALS}
    for number in range(args.runs):
        for tool, command in tools.items():
            with Registry(os.path.join(scratch, f"registry-{tool}-{number}")) as host:
                for task, tag in zip(GOALS, ("old", "old", "new")):
                    results[task][tool].append(measure(command(tag, host), environment))
    print(f"{args.layers} layers, {args.megabytes} MB, {args.runs} runs", flush=True)
    print(f"{'task':16} {'tool':10} {'wall s':>8} {'cpu s':>8} {'MiB':>6}   wall, ours / theirs")
    for task, by_tool in results.items():
        medians = {tool: [statistics.median(column) for column in zip(*runs)] for tool, runs in by_tool.items()}
        for tool, (wall, cpu, memory) in medians.items():
            ratio = medians["assemble"][0] / medians["skopeo"][0]
            note = f"{ratio:6.2f} (goal: at most {GOALS[task]})" if tool == "assemble" else ""
            print(f"{task:16} {tool:10} {wall:8.3f} {cpu:8.3f} {memory:6.0f}   {note}")


if __name__ == "__main__":
    main()
