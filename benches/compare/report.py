"""Makes the table and the plots of what `rounds.py` measured: `report.py DIR RESULTS.md PLOTS COMMAND`."""

import heapq
import json
import os
import platform
import re
import statistics
import sys
from datetime import date
from pathlib import Path

from svg import bars, lines

OURS = "actix-multiprocess"
BEGIN, END = "<!-- compare:begin -->", "<!-- compare:end -->"
LOW, HIGH, NEITHER = -1, 1, 0


# What aiomultiprocess measures itself with, on four workers: milliseconds of each task, waited for or (below 0) held; how many
# tasks; how many at once in a worker.
SETS = [
    *[((0,), 50 * each, each) for each in (8, 16, 32, 64)],
    *[((50,), 50 * each, each) for each in (8, 16, 32, 64)],
    *[((-2, 200, -2), 25 * each, each) for each in (8, 16, 32, 64)],
]


def ideal_seconds(sleeps, tasks, at_once):
    """What four event loops take if nothing but their sleeping takes time."""
    tasks //= 4
    due = [(0, number, sleeps) for number in range(min(tasks, at_once))]
    begun, number, now = len(due), len(due), 0
    while due:
        at, _, rest = heapq.heappop(due)
        now = max(now, at)
        while rest and rest[0] <= 0:
            now -= rest[0]
            rest = rest[1:]
        if rest:
            heapq.heappush(due, (now + rest[0], number, rest[1:]))
        elif begun < tasks:
            begun += 1
            heapq.heappush(due, (now, number, sleeps))
        number += 1
    return now / 1e3


def rows(settings):
    """Key, what it is, unit, a factor, and whether low or high is good."""
    tasks, millis = settings["tasks"], settings["millis"]
    for where, what in ("", "round trip, one at a time"), ("one-cpu/", "the same, all on one CPU"):
        yield where + "roundtrip", f"{what}, p50", "µs", 1, LOW
        yield where + "roundtrip-p99", f"{what}, p99", "µs", 1, LOW
    yield "outstanding/1024", "single submits, 1,024 outstanding", "k/s", 1e-3, HIGH
    yield "map", "map of no-ops, in each one's own chunks", "k/s", 1e-3, HIGH
    for size, window in settings["echoes"].items():
        size = int(size)
        name = f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
        yield f"echo/{size}", f"echo of {name}, {window} under way, both directions", "MB/s", 1, HIGH
    yield "start", "start of the process to its first result", "ms", 1, LOW
    yield "create", "creation of the pool to its first result", "ms", 1, LOW
    killed = f"a worker is killed while {tasks} tasks of {millis} ms run or wait"
    yield "crash/results", f"{killed}: results", "", 1, HIGH
    yield "crash/errors", "after that kill: errors", "", 1, NEITHER
    yield "crash/unanswered", "after that kill: tasks that nothing is heard of again", "", 1, LOW
    yield "crash/serves", "after that kill: until a new worker serves", "ms", 1, LOW
    yield "crash-idempotent/results", "after such a kill, tasks said to be idempotent: results", "", 1, HIGH
    yield "memory", "memory of an idle worker, PSS", "MiB", 1, LOW
    yield "memory-all", "memory of program, workers and helpers, PSS", "MiB", 1, LOW
    yield "idle-cpu", f"CPU of all of them when idle, over {settings['idle']} s", "%", 1, LOW
    count, each = settings["cpu"]
    yield "cpu", f"{count} tasks that compute for {each} ms", "s", 1, LOW
    noops, computing, each = settings["mix"]
    yield "mix", f"{noops:,} no-ops a second beside {computing} tasks of {each} ms that compute: no-ops, p99", "ms", 1, LOW
    yield "mix-p50", "the same: no-ops, p50", "ms", 1, LOW
    ideal = sum(ideal_seconds(*one) for one in SETS)
    yield "sets", f"aiomultiprocess's own {len(SETS)} sets, with the start and stop of each pool (ideal {ideal:.2f})", "s", 1, LOW


def points(settings):
    """The same for what is only in the plots."""
    for number in settings["windows"]:
        if number != 1024:
            yield f"outstanding/{number}", f"single submits, {number:,} outstanding", "k/s", 1e-3, HIGH
    for number in settings["queued"]:
        yield f"queued/{number}", f"{number:,} submitted at once, each", "µs", 1, LOW
    for number in settings["workers"]:
        yield f"workers/{number}", f"1,024 outstanding, workers: {number}, each", "µs", 1, LOW


def notes_on(settings):
    """What a reader has to know of single peers, by peer and row."""
    tasks = settings["tasks"]
    several = f"up to 16 of the {tasks} are in the worker that dies; the pools without this note give a worker one at a time"
    return {
        (OURS, "crash/results"): several,
        ("aiomultiprocess", "crash/results"): several,
        ("tarpc", "crash/results"): several + ". The limit is the benchmark's: tarpc has none",
        (OURS, "outstanding/1024"): "the no-op is said to be idempotent, which lets the pool send more ahead",
        (OURS, "map"): "as for single submits",
        ("tarpc", "start"): "two processes and their sockets, set up by the benchmark: tarpc is no pool",
        ("procspawn", f"echo/{64 << 10}"): "two under way from 64 KiB on: with more, of 1 MiB, it blocks for ever",
        ("procspawn", f"echo/{1 << 20}"): "as for 64 KiB",
        ("procspawn", f"echo/{16 << 20}"): "as for 64 KiB",
        ("piscina", "roundtrip"): "its workers are threads of one process: no socket, nothing that survives a crash",
        ("piscina", "crash/results"): "the thread is ended by `terminate()`, for no signal ends one alone",
        ("piscina", "memory"): "what the process has grown by, for each thread",
        ("aiomultiprocess", "roundtrip"): "it polls its queues, at several places, every 5 ms",
    }


def show(value):
    if value >= 1000:
        return f"{value:,.0f}"
    digits = 0 if value == int(value) or value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


class Results:
    def __init__(self, folder):
        self.settings = json.loads((folder / "settings.json").read_text())
        self.figures, self.reasons, self.versions, self.absent = {}, {}, {}, {}
        for line in (folder / "peers.tsv").read_text().splitlines():
            name, version, command = line.split("\t")
            if command.startswith("NOT RUN: "):
                self.absent[name] = command.removeprefix("NOT RUN: ")
            else:
                self.versions[name] = version
        for line in (folder / "results.tsv").read_text().splitlines():
            key, name, _, figure, why = line.split("\t")
            if figure == "-":
                self.reasons[key, name] = why
            else:
                self.figures.setdefault((key, name), []).append(float(figure))

    def spread(self, key, name, factor=1):
        """Median, smallest and largest."""
        figures = [figure * factor for figure in self.figures.get((key, name), [])]
        return (statistics.median(figures), min(figures), max(figures)) if figures else None


class Notes:
    def __init__(self):
        self.texts = []

    def mark(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"


def best(spreads, good):
    medians = [spread[0] for spread in spreads.values() if spread]
    return max(medians, key=lambda median: good * median) if good and medians else None


def table(results, notes):
    peers = [*results.versions, *results.absent]
    yield "| what | " + " | ".join(peers) + " |"
    yield "| --- |" + " ---: |" * len(peers)
    remarks = notes_on(results.settings)
    for key, what, unit, factor, good in rows(results.settings):
        spreads = {name: results.spread(key, name, factor) for name in results.versions}
        first = best(spreads, good)
        cells = []
        for name in peers:
            if name in results.absent:
                cells.append("NOT RUN")
                continue
            spread, reason = spreads[name], results.reasons.get((key, name))
            if spread is None:
                if reason is None and key == "crash-idempotent/results":
                    reason = f"only {OURS} is told of a task whether it may run twice"
                cells.append("-" + notes.mark(reason or f"{name}: says nothing of it"))
                continue
            median, low, high = spread
            cell = f"**{show(median)}**" if median == first else show(median)
            if low != high:
                cell += f" ({show(low)}–{show(high)})"
            if reason:
                cell += notes.mark(f"not in every round: {reason}")
            if (name, key) in remarks:
                cell += notes.mark(remarks[name, key])
            cells.append(cell)
        yield f"| {what}{', ' + unit if unit else ''} | " + " | ".join(cells) + " |"


def where_better(results):
    """Rows, and points of the plots, in which another's median is the better one."""
    remarks = notes_on(results.settings)
    for key, what, unit, factor, good in [*rows(results.settings), *points(results.settings)]:
        ours = results.spread(key, OURS, factor)
        if not good or ours is None:
            continue
        for name in results.versions:
            theirs = results.spread(key, name, factor)
            if theirs is None or good * theirs[0] <= good * ours[0]:
                continue
            apart = good * (theirs[1] if good > 0 else theirs[2]) > good * (ours[2] if good > 0 else ours[1])
            times = max(theirs[0], ours[0]) / min(theirs[0], ours[0]) if min(theirs[0], ours[0]) else None
            yield (
                f"- {what}: {name} {show(theirs[0])}{' ' * bool(unit)}{unit}, {OURS} {show(ours[0])}{' ' * bool(unit)}{unit}"
                + (f", {times:.2f} times" if times else "")
                + ("" if apart else "; the spreads overlap")
                + ("; see the notes" if (name, key) in remarks or (OURS, key) in remarks else "")
            )


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.M)
    parts = [
        f"{len(os.sched_getaffinity(0))} CPUs",
        cpu[1] if cpu else platform.machine(),
        f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        "Linux " + ".".join(platform.release().split(".")[:2]),
    ]
    return ", ".join(filter(None, parts))


def section(results, command, plots):
    settings, notes = results.settings, Notes()
    body = list(table(results, notes))
    yield "## Side by side with other pools"
    yield ""
    yield f"`{command}`, on {date.today()}: {settings['rounds']} rounds in which the pools take turns with each workload,"
    yield f"every one in a process of its own; {machine()}."
    yield "Two workers each, host and workers sharing the CPUs; what differs from the defaults is in the notes. Median"
    yield "(smallest–largest); the best of each row is bold."
    if settings["quick"]:
        yield ""
        yield "**A quick run: its figures are rough.**"
    yield ""
    yield "Versions: " + "; ".join(f"{name} {version}" for name, version in results.versions.items()) + "."
    for name, why in results.absent.items():
        yield ""
        yield f"NOT RUN: {name}: {why}."
    yield ""
    yield from body
    yield ""
    for number, text in enumerate(notes.texts, 1):
        yield f"{number}. {text}"
    yield ""
    yield "### Where a peer is better"
    yield ""
    yield from list(where_better(results)) or ["Nowhere, in the table and the plots."]
    yield ""
    for name, text in plots.items():
        yield f"![{text}](compare/plots/{name}.svg)"


def draw(results, folder):
    """Writes the plots, and says what each shows."""
    folder.mkdir(exist_ok=True)
    peers = list(results.versions)
    panels = []
    for key, what, unit, factor, good in rows(results.settings):
        spreads = {name: results.spread(key, name, factor) for name in peers}
        # Counts say little by their logarithm.
        if unit and any(spreads.values()):
            direction = "less is better" if good < 0 else "more is better"
            panels.append((f"{what}, {unit} ({direction})", spreads))
    (folder / "bars.svg").write_text(bars(panels, peers, show))

    def series(prefix, factor):
        found = {}
        for (key, name), _ in results.figures.items():
            head, _, number = key.partition("/")
            if head == prefix:
                found.setdefault(name, []).append((int(number), *results.spread(key, name, factor)))
        return {name: sorted(found[name]) for name in peers if name in found}

    panel = ("single submits: thousand tasks a second", "tasks in flight", series("outstanding", 1e-3))
    (folder / "inflight.svg").write_text(lines([panel], peers, show))
    growth = [
        ("all submitted at once: µs of each task", "tasks", series("queued", 1)),
        ("1,024 outstanding: µs of each task", "workers", series("workers", 1)),
    ]
    (folder / "growth.svg").write_text(lines(growth, peers, show))
    return {
        "bars": "each workload, on a logarithmic scale",
        "inflight": "throughput against tasks in flight",
        "growth": "what a task costs as there are more of them, and of workers",
    }


def put(path, text):
    """Between the markers, which are made at the end of the file if it has none."""
    old = path.read_text()
    if BEGIN not in old:
        old = f"{old.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = old.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main():
    folder, target, plots, command = sys.argv[1:]
    results = Results(Path(folder))
    text = "\n".join(section(results, command, draw(results, Path(plots))))
    put(Path(target), text)
    print(text)


main()
