"""Runs the drivers in alternation: `rounds.py DIR [--quick]`.

Reads DIR/peers.tsv (name, version, command) and writes DIR/results.tsv (key, peer, round, figure or -, why) and
DIR/settings.json. A driver is a program that is started anew for each workload: `DRIVER WORKLOAD NUMBER...`. It prints
lines of key and figure, or of key, `-` and why there is none. Peers take turns within each workload of each round, so
that whatever else the machine does hits all of them alike.
"""

import ctypes
import glob
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

FULL = {
    "rounds": 5, "seconds": 0.5, "mix": 3, "starts": 3, "idle": 5, "limit": 120, "tasks": 64, "millis": 100,
    "windows": [1, 4, 16, 64, 256, 1024, 4096], "queued": [100, 1000, 10_000, 100_000], "workers": [1, 2, 4, 8, 16, 32],
}
QUICK = FULL | {
    "rounds": 2, "seconds": 0.05, "mix": 0.5, "starts": 1, "idle": 2, "limit": 40,
    "windows": [1, 16, 1024], "queued": [100, 1000, 10_000], "workers": [1, 2, 4],
}
# Sizes, and how many are under way at once.
ECHOES = {1 << 10: 32, 64 << 10: 16, 1 << 20: 8, 16 << 20: 4}
LINE = re.compile(r"[a-z0-9/-]+\t(-\t.|[0-9.e+-]+$)")
# Of computing.
CPU_TASKS, CPU_MILLIS = 64, 20
# No-ops a second, and tasks that compute for some milliseconds.
MIX = [5000, 200, 5]
ONE_CPU = "one-cpu/"


def workloads(settings):
    """Name, numbers, and the keys that are to come of it. With `ONE_CPU` in front of the name all of it has one CPU."""
    seconds, tasks, millis = settings["seconds"], settings["tasks"], settings["millis"]
    for _ in range(settings["starts"]):
        yield "start", [], ["start", "create"]
    for where in "", ONE_CPU:
        yield where + "roundtrip", [seconds], [where + "roundtrip", where + "roundtrip-p99"]
    yield "mix", [settings["mix"], *MIX], ["mix", "mix-p50"]
    yield "sets", [], ["sets"]
    yield "map", [seconds], ["map"]
    yield "cpu", [CPU_TASKS, CPU_MILLIS], ["cpu"]
    yield "crash", [tasks, millis], ["crash/results", "crash/errors", "crash/unanswered", "crash/serves"]
    yield "idle", [], ["memory", "memory-all", "idle-cpu"]
    for size, window in ECHOES.items():
        yield "echo", [seconds, size, window], [f"echo/{size}"]
    # Each by itself, so that one which cannot be done does not take the others along.
    for key, name in ("outstanding", "windows"), ("queued", "queued"), ("workers", "workers"):
        for number in settings[name]:
            yield key, [seconds, number], [f"{key}/{number}"]


def children():
    """The process ids of the children of each process."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                # The name may contain anything.
                pid, fields = file.read().rsplit(")", 1)
        except OSError:
            continue
        found.setdefault(int(fields.split()[1]), []).append(int(pid.split()[0]))
    return found


def descendants(pid):
    found, below = [], children()
    todo = [pid]
    while todo:
        new = below.get(todo.pop(), [])
        found += new
        todo += new
    return found


def pss(pid):
    """MiB in memory, of shared pages a share of each; nothing of a process that has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
    except OSError:
        return 0


def cpu_seconds(pids):
    """How long each of their threads has had a CPU."""
    seconds = {}
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as file:
                    seconds[path] = int(file.read().split()[0]) / 1e9
            except OSError:
                pass
    return seconds


def look_at_idle(driver, workers, settings):
    """What can be seen from outside while the driver waits."""
    time.sleep(1)
    everyone = [driver.pid, *descendants(driver.pid)]
    before = cpu_seconds(everyone)
    time.sleep(settings["idle"])
    # Of a thread that has ended meanwhile nobody knows what it had since.
    seconds = sum(after - before.get(path, 0) for path, after in cpu_seconds(everyone).items())
    figures = {"idle-cpu": seconds / settings["idle"] * 100}
    figures["memory-all"] = sum(map(pss, everyone))
    if workers:
        figures["memory"] = sum(map(pss, workers)) / len(workers)
    driver.stdin.close()
    return figures


def end_all():
    """Ends whatever this process started, also what was left by a driver that is gone and came to this process."""
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run(command, workload, numbers, settings, log):
    """The lines that a driver printed, and why there are no more."""
    environment = os.environ | {"BEGAN": repr(time.time())}
    where = ONE_CPU if workload.startswith(ONE_CPU) else ""
    words = [*command, workload.removeprefix(where), *map(str, numbers)]
    if where:
        words = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *words]
    driver = subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    late = False

    def watch():
        nonlocal late
        try:
            driver.wait(settings["limit"])
        except subprocess.TimeoutExpired:
            late = True
        # What it left would hold its standard output open.
        end_all()

    said = log.tell()
    watcher = threading.Thread(target=watch)
    watcher.start()
    lines, workers = [], []
    for line in driver.stdout:
        key, figure, *why = line.rstrip("\n").split("\t") if LINE.match(line) else ("", "")
        if key == "worker":
            workers.append(int(figure))
        elif not key:
            # Some libraries print what went wrong there.
            log.write(line)
        elif key == "ready":
            found = look_at_idle(driver, workers, settings)
            lines += [(key, str(figure), "") for key, figure in found.items()]
        else:
            lines.append((where + key, figure, *why, "")[:3])
    watcher.join()
    status = driver.wait()
    driver.stdin.close()
    driver.stdout.close()
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass
    if late:
        return lines, f"not over after {settings['limit']} s"
    # The one end that was seen and is of the machine's making; other last words have names of folders in them.
    with open(log.name, errors="replace") as file:
        file.seek(said)
        if "Too many open files" in file.read():
            return lines, "too many open files"
    return lines, "" if status == 0 else f"ended with status {status}"


def main():
    folder, quick = sys.argv[1], "--quick" in sys.argv
    settings = QUICK if quick else FULL
    # Orphans come to this process and not to init: so they can be found and ended. 36 is PR_SET_CHILD_SUBREAPER.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    with open(f"{folder}/peers.tsv") as file:
        peers = [line.rstrip("\n").split("\t") for line in file]
    peers = [(name, command.split(" ")) for name, _, command in peers if not command.startswith("NOT RUN")]
    with open(f"{folder}/settings.json", "w") as file:
        json.dump(settings | {"quick": quick, "cpu": [CPU_TASKS, CPU_MILLIS], "echoes": ECHOES, "mix": MIX}, file)
    began = time.monotonic()
    with open(f"{folder}/results.tsv", "w") as results, open(f"{folder}/drivers.log", "w") as log:
        for turn in range(settings["rounds"]):
            for workload, numbers, keys in workloads(settings):
                # Nobody always comes first.
                at = turn % len(peers)
                for name, command in peers[at:] + peers[:at]:
                    print(f"{time.monotonic() - began:5.0f} s, round {turn + 1}: {workload} {numbers}: {name}", file=sys.stderr)
                    print(f"== {name}: {workload} {numbers}", file=log, flush=True)
                    lines, why = run(command, workload, numbers, settings, log)
                    missing = set(keys) - {key for key, *_ in lines}
                    lines += [(key, "-", f"{name}: {why or 'says nothing of it'}") for key in sorted(missing)]
                    for key, figure, why in lines:
                        print(key, name, turn, figure, why, sep="\t", file=results, flush=True)


main()
