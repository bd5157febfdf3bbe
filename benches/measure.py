#!/usr/bin/env python3
"""Measures what the README's table of numbers says, and writes it there.

    python3 benches/measure.py                       # everything; about ten minutes on a quiet machine
    python3 benches/measure.py --only retry,gateway  # these; other rows stay as they are
    python3 benches/measure.py --quick               # a smoke test: everything once, nothing is written

A row of the table is an entry of ROWS. It names its group, which is one run of a bench, and its figures:
medians of criterion, numbers that a bench prints, or CPU time per request of proxies (peers/proxies.py).
A baseline that cannot be measured here is left out of its row with a message; a row without its own figure
stays as it was. Standard library only.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "peers"))
import proxies  # noqa: E402

ROOT = proxies.ROOT
README = ROOT / "README.md"
BEGIN, END = "<!-- numbers:begin -->", "<!-- numbers:end -->"


# ===== figures =====


class Missing(Exception):
    """A figure that has not been measured."""


@dataclasses.dataclass
class Time:
    """The median of a criterion benchmark."""

    id: str

    def of(self, results):
        if self.id not in results.medians:
            raise Missing(f"criterion has no {self.id}")
        return duration(results.medians[self.id])


@dataclasses.dataclass
class Printed:
    """The first number behind `pattern` in what the benches of the group have printed, from a line that
    starts with `table` on, if that is given."""

    pattern: str
    table: str = ""
    form: str = "{}"
    scale: float = 1.0

    def of(self, results):
        text = results.output
        if self.table:
            text = text[text.find("\n" + self.table) :] if "\n" + self.table in text else ""
        found = re.search(f"(?m){self.pattern}([0-9.]+)", text)
        if not found:
            raise Missing(f"no bench has printed {self.pattern!r}")
        return self.form.format(significant(float(found[1]) * self.scale))


@dataclasses.dataclass
class Allocations(Printed):
    """A count of allocations."""

    def of(self, results):
        count = super().of(results)
        return {"0": "no allocation", "1": "1 allocation"}.get(count, f"{count} allocations")


@dataclasses.dataclass
class Proxy:
    """CPU time per request of a proxy."""

    name: str

    def of(self, results):
        if not results.proxies.get(self.name):
            raise Missing(f"{self.name} was not measured")
        return duration(statistics.median(results.proxies[self.name]) * 1e3)


@dataclasses.dataclass
class Version:
    """Of a proxy."""

    name: str

    def of(self, results):
        if self.name not in results.versions:
            raise Missing(f"{self.name} is not installed")
        return results.versions[self.name]


def significant(value):
    """Three digits at least, and no more behind the point than that."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(nanoseconds):
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanoseconds >= factor:
            return f"{significant(nanoseconds / factor)} {unit}"
    return f"{nanoseconds:.0f} ns"


# ===== what is measured =====


@dataclasses.dataclass
class Group:
    """One run of a bench. `criterion` benches get a filter for the figures that are needed."""

    bench: str
    command: str
    criterion: bool = True
    arguments: tuple = ()


def bench(name, filter=""):
    return Group(name, f"`cargo bench --bench {name}{filter and ' -- ' + filter}`")


GROUPS = {
    "hop_by_hop": bench("layers", "hop_by_hop"),
    "keep_alive": bench("layers", "keep_alive"),
    "pipeline_guard": bench("layers", "pipeline_guard"),
    "reaper": bench("reaper"),
    "retry": bench("retry"),
    "pipeline": Group("pipeline", "`cargo bench --bench pipeline -- server`", False, ("server",)),
    "pool": Group("pool", "`cargo bench --bench pool`", False),
    "gateway": Group("", "`python3 benches/peers/proxies.py`", False),
}


class Row:
    """One line of the table: what, our figure, and the baselines. Figures are named in the texts."""

    def __init__(self, group, what, ours, /, *baselines, **figures):
        self.group, self.what, self.ours, self.baselines, self.figures = group, what, ours, baselines, figures

    def text(self, text, results):
        names = re.findall(r"\{(\w+)\}", text)
        return text.format_map({name: self.figures[name].of(results) for name in names})


def depth_16(server):
    """Columns of the pipeline bench: requests a second, ratio to stock, CPU time."""
    return Printed(rf"^16 +{server} +[0-9.]+ +[0-9.]+ +", "depth", "{} µs")


def at_once(client, requests):
    """Columns of the pool bench: requests a second, CPU time."""
    return Printed(rf"^{client} +{requests} +[0-9.]+ +", "client", "{} µs")


ROWS = [
    Row("hop_by_hop", "strip a browser's 12-field request", "{ours}, {allocations}",
        "{names} to remove nine fixed names",
        ours=Time("hop_by_hop/keep_alive/strip_request"),
        allocations=Allocations(r"^hop_by_hop/keep_alive: allocations: strip_request "),
        names=Time("hop_by_hop/keep_alive/nine_names")),
    Row("hop_by_hop", "strip a gRPC request of HTTP/2", "{ours}, {allocations}",
        "{names} to remove nine fixed names",
        ours=Time("hop_by_hop/http2_grpc/strip_request"),
        allocations=Allocations(r"^hop_by_hop/http2_grpc: allocations: strip_request "),
        names=Time("hop_by_hop/http2_grpc/nine_names")),
    Row("hop_by_hop", "hop-by-hop layer around a service", "{ours}",
        "{bare} without", "{peer} with the layer of axum-reverse-proxy",
        ours=Time("hop_by_hop/keep_alive/layer"),
        bare=Time("hop_by_hop/keep_alive/no_layer"),
        peer=Time("hop_by_hop/keep_alive/layer_axum_reverse_proxy")),
    Row("keep_alive", "keep-alive layer, nothing announced", "{ours}, {allocations}", "{bare} without",
        ours=Time("keep_alive/silent/layer"),
        allocations=Allocations(r"^keep_alive/silent: allocations: .*layer \+"),
        bare=Time("keep_alive/silent/bare")),
    Row("pipeline_guard", "pipeline guard, a request in memory that is not pipelined", "{ours}", "{bare} without",
        ours=Time("pipeline_guard/guard"),
        bare=Time("pipeline_guard/bare")),
    Row("reaper", "an exchange under the reaper's transport", "{ours}, {allocations}", "{plain} over the plain one",
        "{bare} to begin and end an exchange",
        ours=Time("exchange/transport and exchange, reaped"),
        allocations=Allocations("^exchange: allocations: transport and exchange, reaped "),
        plain=Time("exchange/transport, plain"),
        bare=Time("exchange/exchange alone")),
    Row("reaper", "hyper HTTP/1 exchange in memory, reaped", "{ours}",
        "{bare} plain", "{timer} with hyper's head timer",
        ours=Time("hyper http1, in memory/reaped"),
        bare=Time("hyper http1, in memory/plain"),
        timer=Time("hyper http1, in memory/with hyper's head timer")),
    Row("reaper", "the same under `axum::serve`", "{ours}", "{bare} plain",
        ours=Time("axum::serve, in memory/reaped"),
        bare=Time("axum::serve, in memory/plain")),
    Row("reaper", "look over 1,000,000 connections, nothing due", "{ours}",
        ours=Time("sweep of 1,000,000/a whole reaper, nothing due")),
    Row("retry", "retry layer, a GET that succeeds", "{ours}, {allocations}",
        "{tower}, {tower_allocations} with tower's retry",
        ours=Time("retry/get/layer"),
        allocations=Allocations(r"^retry/get: allocations: layer "),
        tower=Time("retry/get/tower"),
        tower_allocations=Allocations(r"^retry/get: allocations: .*tower ")),
    Row("pipeline", "server, 16 pipelined requests at a time, CPU per request", "{ours}", "{stock} with hyper alone",
        ours=depth_16("guard"),
        stock=depth_16("stock hyper")),
    Row("pipeline", "eight pipelined requests of 100 ms each", "{ours}", "{stock} with hyper alone",
        ours=Printed("^guard +", "8 of 100 ms, at once", "{} ms"),
        stock=Printed("^stock hyper +", "8 of 100 ms, at once", "{} ms")),
    Row("pool", "client, 32 requests at a time, CPU per request", "{ours}", "{legacy} with hyper-util's legacy client",
        ours=at_once("pool, limit 64", 32),
        legacy=at_once("legacy client", 32)),
    Row("pool", "client, 256 requests at a time, pipelined by the pool", "{ours}",
        "{single} with the pool one by one", "{legacy} with hyper-util's legacy client",
        ours=at_once("pool, depth 8", 256),
        single=at_once("pool, limit 64", 256),
        legacy=at_once("legacy client", 256)),
    Row("pool", "memory of an idle client connection", "{ours}", "{legacy} with hyper-util's legacy client",
        ours=Printed("^pool +[0-9]+ +", "idle", "{} KiB"),
        legacy=Printed("^legacy client +[0-9]+ +", "idle", "{} KiB")),
    Row("gateway", "the gateway, CPU per proxied request", "{ours}",
        "{bare} `bare_proxy`", "{nginx} nginx {nginx_version}", "{haproxy} haproxy {haproxy_version}",
        "{go} Go {go_version}", "{pingora} pingora",
        ours=Proxy("gateway"), bare=Proxy("bare_proxy"), nginx=Proxy("nginx"), haproxy=Proxy("haproxy"),
        go=Proxy("go"), pingora=Proxy("pingora"),
        nginx_version=Version("nginx"), haproxy_version=Version("haproxy"), go_version=Version("go")),
]


# ===== measuring =====


class Results:
    """What one run of a group has measured."""

    def __init__(self):
        self.medians, self.output, self.proxies, self.versions = {}, "", {}, {}


def run_bench(name, group, quick):
    results = Results()
    command = ["cargo", "bench", "-q", *(("--profile", "dev") if quick else ()), "--bench", group.bench, "--"]
    with tempfile.TemporaryDirectory() as home:
        if group.criterion:
            ids = sorted(figure.id for row in ROWS if row.group == name for figure in row.figures.values()
                         if isinstance(figure, Time))
            pace = ("0.1", "0.1", "10") if quick else ("1", "3", "60")
            flags = zip(("--warm-up-time", "--measurement-time", "--sample-size"), pace)
            exact = "|".join(re.sub(r"[.+*?()|\[\]{}^$\\]", r"\\\g<0>", id) for id in ids)
            command += [word for flag in flags for word in flag] + ["--noplot", f"^({exact})$"]
        else:
            command += group.arguments + (("--test",) if quick else ())
        print(f"==> {shlex.join(command)}", file=sys.stderr)
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True,
                             env=os.environ | {"CRITERION_HOME": home})
        if run.returncode != 0:
            raise Missing(f"{shlex.join(command)} has failed")
        results.output = "\n" + run.stdout
        for path in pathlib.Path(home).glob("**/new/benchmark.json"):
            estimates = json.loads(path.with_name("estimates.json").read_text())
            results.medians[json.loads(path.read_text())["full_id"]] = estimates["median"]["point_estimate"]
    return results


def run_proxies(further, quick):
    results = Results()
    profile = "debug" if quick else "release"
    command = ["cargo", "build", "-q", "--example", "gateway", "--example", "bare_proxy"]
    command += () if quick else ("--release",)
    print(f"==> {shlex.join(command)}, then CPU time per request", file=sys.stderr)
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise Missing(f"{shlex.join(command)} has failed")
    pace = {"rounds": 1, "seconds": 1} if quick else {"rounds": 7, "seconds": 2}
    results.proxies = proxies.measure(proxies.examples_of(profile), further, **pace) or {}
    results.versions = proxies.versions()
    return results


# ===== the table =====


def line(row, results):
    """A row as Markdown, without its command."""
    ours = row.text(row.ours, results)
    baselines = []
    for text in row.baselines:
        try:
            baselines.append(row.text(text, results))
        except Missing as missing:
            print(f"left out of {row.what!r}: {missing}", file=sys.stderr)
    return f"| {row.what} | {ours} | {', '.join(baselines)} |".replace("|  |", "| |")


def table(lines):
    """What stands between the markers, from the row's Markdown by what it measures."""
    text = ["| what | ours | baseline | command |", "|---|---|---|---|"]
    last = None
    for row in ROWS:
        if row.what in lines:
            command = GROUPS[row.group].command
            text.append(f"{lines[row.what]} {'the same' if command == last else command} |")
            last = command
    return "\n".join(text)


def parts(readme):
    """What is before, between and behind the markers."""
    before, begin, rest = readme.partition(BEGIN)
    between, end, behind = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in behind:
        raise SystemExit(f"README.md needs one {BEGIN} and one {END} behind it")
    return before, between, behind


def present(between):
    """The rows of a table, without their commands, by what they measure."""
    rows = {}
    for text in between.splitlines():
        cells = [cell.strip() for cell in text.strip().strip("|").split("|")]
        if len(cells) == 4 and cells[0] != "what" and not set(cells[0]) <= {"-"}:
            rows[cells[0]] = f"| {' | '.join(cells[:3])} |".replace("|  |", "| |")
    return rows


def machine():
    cpu = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    rustc = subprocess.run(["rustc", "--version"], cwd=ROOT, capture_output=True, text=True).stdout.split()[1]
    return f"{cpu[1] if cpu else os.uname().machine}, {len(os.sched_getaffinity(0))} cores, rustc {rustc}."


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(GROUPS), metavar="GROUP,GROUP",
                        help="of " + ", ".join(GROUPS))
    parser.add_argument("--quick", action="store_true",
                        help="everything once, with debug builds; writes nothing, fails if a figure is missing")
    parser.add_argument("--peer", type=proxies.peer, action="append", default=[], metavar="NAME=COMMAND",
                        help="a further proxy, such as pingora=PATH; see peers/proxies.py")
    given = parser.parse_args()
    unknown = [name for name in given.only if name not in GROUPS]
    if unknown:
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")

    before, between, behind = parts(README.read_text())
    lines, missing = present(between), []
    for name in given.only:
        start = time.monotonic()
        group = GROUPS[name]
        try:
            results = run_bench(name, group, given.quick) if group.bench else run_proxies(dict(given.peer), given.quick)
        except Missing as error:
            missing.append(str(error))
            continue
        for row in ROWS:
            if row.group == name:
                try:
                    lines[row.what] = line(row, results)
                except Missing as error:
                    missing.append(f"{row.what}: {error}")
        print(f"    {name}: {time.monotonic() - start:.0f} s", file=sys.stderr)

    text = table(lines)
    print(text)
    for error in missing:
        print(f"missing: {error}", file=sys.stderr)
    if not given.quick:
        about = machine() if set(given.only) == set(GROUPS) else between.strip().partition("\n")[0]
        README.write_text(f"{before}{BEGIN}\n{about}\n\n{text}\n{END}{behind}")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
