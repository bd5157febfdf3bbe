#!/usr/bin/env python3
"""CPU time per proxied request: the gateway beside bare_proxy, nginx, haproxy and Go's reverse proxy.

    cargo build --release --example gateway --example bare_proxy
    python3 benches/peers/proxies.py [--peer NAME=COMMAND] [--only nginx,haproxy] [--connections 32]

All proxies run at the same time, each with one worker, and take turns under the load of wrk; nginx answers
behind them. CPU time is what the kernel has counted for the processes of a proxy, which holds where
throughput on a shared machine does not. With two cores or more, the proxies have one to themselves. A peer
that is not installed is left out, with a message. A further one is any COMMAND that takes
`--listen HOST:PORT --upstream http://HOST:PORT --workers 1`. Standard library only.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OURS = ("gateway", "bare_proxy")

UPSTREAM = """
worker_processes 1; daemon off; pid {dir}/upstream.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
    server {{
        listen {listen};
        location / {{ default_type text/plain; return 200 "A short answer, as an upstream gives it.\\n"; }}
    }}
}}
"""
NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
    upstream behind {{ server {upstream}; keepalive 512; keepalive_requests 100000000; }}
    server {{
        listen {listen};
        location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""
HAPROXY = """
global
    nbthread 1
defaults
    mode http
    http-reuse always
    timeout client 1h
    timeout server 1h
    timeout connect 5s
    timeout http-keep-alive 1h
listen proxy
    bind {listen}
    server behind {upstream}
"""


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % probe.getsockname()[1]


def pinning(core):
    """What a child process does first: stay on this core, if there is more than one."""
    cores = sorted(os.sched_getaffinity(0))
    return (lambda: os.sched_setaffinity(0, {cores[core]})) if len(cores) > 1 else None


class Running:
    """A process that is listening, and its children."""

    def __init__(self, name, command, address, core):
        self.name, self.address = name, address
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        start_new_session=True, preexec_fn=pinning(core))
        host, port = address.split(":")
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise SystemExit(f"{name} does not listen: {shlex.join(map(str, command))}")
                time.sleep(0.02)

    def cpu(self):
        """Seconds of CPU time so far, user and system, of the whole tree."""
        parents, spent = {}, {}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                # The name of the program may contain anything; what follows its parenthesis is numbers.
                fields = pathlib.Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                spent[int(entry.name)] = int(fields[11]) + int(fields[12])
        tree = {self.process.pid}
        while True:
            more = {pid for pid, parent in parents.items() if parent in tree} - tree
            if not more:
                return sum(spent.get(pid, 0) for pid in tree) / os.sysconf("SC_CLK_TCK")
            tree |= more

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()


class Load:
    def __init__(self, connections, seconds):
        self.connections, self.seconds = connections, seconds

    def requests(self, address):
        """How many requests were answered."""
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{self.seconds}s", f"http://{address}/"]
        run = subprocess.run(command, capture_output=True, text=True, preexec_fn=pinning(0))
        answered = re.search(r"(\d+) requests in", run.stdout)
        trouble = re.search(r"Non-2xx.*|Socket errors:.*", run.stdout)
        if not answered or int(answered[1]) == 0 or trouble:
            raise SystemExit(f"{shlex.join(command)}: {trouble[0] if trouble else run.stderr or run.stdout}")
        return int(answered[1])


def commands(folder, upstream, examples, further):
    """Name -> how to start it at an address; or why it cannot be."""
    def config(name, text):
        def write(listen):
            path = folder / f"{name}.conf"
            path.write_text(text.format(dir=folder, listen=listen, upstream=upstream))
            return path
        return write

    def flags(program, *more):
        return lambda listen: [*program, "--listen", listen, "--upstream", f"http://{upstream}", *more]

    nginx, haproxy = config("nginx", NGINX), config("haproxy", HAPROXY)
    known = {name: flags([examples / name], "--workers", "1") for name in OURS}
    known["nginx"] = lambda listen: ["nginx", "-c", nginx(listen)]
    known["haproxy"] = lambda listen: ["haproxy", "-f", haproxy(listen)]
    known["go"] = flags(["env", "GOMAXPROCS=1", folder / "go_proxy"])
    for name, command in further.items():
        known[name] = flags(shlex.split(command), "--workers", "1")

    why = {name: f"{examples / name} is not built" for name in OURS if not (examples / name).exists()}
    why |= {name: f"{name} is not installed" for name in ("nginx", "haproxy", "go") if not shutil.which(name)}
    if "go" not in why:
        build = ["go", "build", "-o", folder / "go_proxy", HERE / "go_proxy.go"]
        run = subprocess.run(build, capture_output=True, text=True, env=os.environ | {"GOFLAGS": "-mod=mod"})
        if run.returncode != 0:
            why["go"] = f"go build: {run.stderr.strip()}"
    return known, why


def measure(examples, further=None, only=None, rounds=7, seconds=2, connections=32):
    """Name -> microseconds of CPU time per request, one figure for each round; None without the tools."""
    for tool in ("nginx", "wrk"):
        if not shutil.which(tool):
            print(f"skipped: {tool} is not installed", file=sys.stderr)
            return None
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = pathlib.Path(name)
        # nginx gives up root for its workers.
        folder.chmod(0o755)

        def start(name, command, address, core):
            process = Running(name, command, address, core)
            running.callback(process.stop)
            return process

        upstream = free_address()
        (folder / "upstream.conf").write_text(UPSTREAM.format(dir=folder, listen=upstream))
        start("the upstream", ["nginx", "-c", folder / "upstream.conf"], upstream, 0)
        known, why = commands(folder, upstream, examples, further or {})
        proxies = []
        for name, command in known.items():
            if only and name not in only:
                continue
            if name in why:
                print(f"skipped: {why[name]}", file=sys.stderr)
                continue
            address = free_address()
            proxies.append(start(name, command(address), address, 1))

        load = Load(connections, seconds)
        figures = {proxy.name: [] for proxy in proxies}
        for count in range(rounds + 1):
            # Each is first as often as the others.
            turn = count % len(proxies) if proxies else 0
            for proxy in proxies[turn:] + proxies[:turn]:
                before = proxy.cpu()
                requests = load.requests(proxy.address)
                # The first round opens connections and fills caches.
                if count > 0:
                    figures[proxy.name].append((proxy.cpu() - before) / requests * 1e6)
    return figures


def versions():
    """Name -> version, of those peers that are installed."""
    found = {}
    for name, flag in (("nginx", "-v"), ("haproxy", "-v"), ("go", "version")):
        if shutil.which(name):
            run = subprocess.run([name, flag], capture_output=True, text=True)
            number = re.search(r"\d+\.\d+", run.stdout + run.stderr)
            found[name] = number[0] if number else ""
    return found


def examples_of(profile):
    """Where cargo puts examples."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return pathlib.Path(metadata["target_directory"]) / profile / "examples"


def peer(text):
    name, _, command = text.partition("=")
    if not name or not command:
        raise argparse.ArgumentTypeError("NAME=COMMAND")
    return name, command


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", type=peer, action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args()
    figures = measure(examples_of("release"), dict(given.peer), given.only, given.rounds, given.seconds,
                      given.connections)
    if not figures:
        sys.exit(1)
    baseline = figures.get("bare_proxy")
    print(f"{'':12} {'CPU us/request':>15} {'least':>8} {'most':>8} {'to bare_proxy':>14}")
    for name, rounds in figures.items():
        # Round by round, so that what disturbs one round disturbs both sides of a ratio.
        ratio = f"{statistics.median(a / b for a, b in zip(rounds, baseline)):.3f}" if baseline else ""
        print(f"{name:12} {statistics.median(rounds):15.2f} {min(rounds):8.2f} {max(rounds):8.2f} {ratio:>14}")


if __name__ == "__main__":
    main()
