"""The workloads on the pools whose callers block: `pools.py PEER WORKLOAD NUMBER...`"""

import os
import signal
import sys
import time
from collections import deque

from common import (
    PATIENCE, WORKERS, Crash, Sizing,
    Arrivals, burn, cannot, echo, idle, nap, noop, say, say_mix, say_roundtrip, say_start,
)


class Futures:
    """concurrent.futures, and what has its interface."""

    def __init__(self, count):
        from concurrent.futures import ProcessPoolExecutor
        self.pool = ProcessPoolExecutor(count)

    def submit(self, function, argument):
        return self.pool.submit(function, argument)

    def is_done(self, future):
        return future.done()

    def get(self, future):
        return future.result()

    def map(self, function, arguments):
        return list(self.pool.map(function, arguments))

    def stop(self):
        self.pool.shutdown(wait=False, cancel_futures=True)


class Pool(Futures):
    """multiprocessing.Pool; `map` makes chunks of its own."""

    def __init__(self, count):
        from multiprocessing import Pool as Workers
        self.pool = Workers(count)

    def submit(self, function, argument):
        return self.pool.apply_async(function, (argument,))

    def is_done(self, future):
        return future.ready()

    def get(self, future):
        return future.get()

    def map(self, function, arguments):
        return self.pool.map(function, arguments)

    def stop(self):
        self.pool.terminate()


class Loky(Futures):
    def __init__(self, count):
        from loky import ProcessPoolExecutor
        self.pool = ProcessPoolExecutor(count)

    def stop(self):
        self.pool.shutdown(wait=False, kill_workers=True)


class Pebble(Futures):
    def __init__(self, count):
        from pebble import ProcessPool
        self.pool = ProcessPool(max_workers=count)

    def submit(self, function, argument):
        return self.pool.schedule(function, args=[argument])

    def map(self, function, arguments):
        return list(self.pool.map(function, arguments).result())

    def stop(self):
        self.pool.stop()
        self.pool.join(5)


class Mpire(Pool):
    def __init__(self, count):
        from mpire import WorkerPool
        self.pool = WorkerPool(n_jobs=count, keep_alive=True)

    def submit(self, function, argument):
        return self.pool.apply_async(function, args=(argument,))


class Ray(Futures):
    """Tasks, which Ray runs again when their worker died."""

    def __init__(self, count):
        import logging
        import ray
        self.ray, self.remote = ray, {}
        here = os.path.dirname(os.path.abspath(__file__))
        ray.init(num_cpus=count, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False,
                 runtime_env={"env_vars": {"PYTHONPATH": here}})

    def submit(self, function, argument):
        if function not in self.remote:
            self.remote[function] = self.ray.remote(function)
        return self.remote[function].remote(argument)

    def is_done(self, future):
        return bool(self.ray.wait([future], timeout=0)[0])

    def get(self, future):
        return self.ray.get(future)

    def map(self, function, arguments):
        return self.ray.get([self.submit(function, argument) for argument in arguments])

    def stop(self):
        self.ray.shutdown()


PEERS = {
    "concurrent.futures": Futures,
    "multiprocessing.Pool": Pool,
    "loky": Loky,
    "pebble": Pebble,
    "mpire": Mpire,
    "ray": Ray,
}


def ready(pool, count=WORKERS):
    """The process ids of all workers, which have so all run something."""
    pids = set()
    while len(pids) < count:
        pids |= {pool.get(future) for future in [pool.submit(nap, 0.02) for _ in range(2 * count)]}
    return pids


def rate(pool, seconds, window, function, argument):
    """Tasks a second of one caller that always has so many futures, and waits for the oldest."""
    sizing = Sizing(seconds, max(window, 100 if window != 1 else 10))
    for tasks in sizing:
        futures = deque()
        for _ in range(tasks):
            if len(futures) == window:
                pool.get(futures.popleft())
            futures.append(pool.submit(function, argument))
        for future in futures:
            pool.get(future)
    return sizing.rate


def roundtrip(pool, seconds):
    micros, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        pool.get(pool.submit(noop, 1))
        micros.append((time.perf_counter() - began) * 1e6)
    say_roundtrip(micros)


def outstanding(pool, seconds, *windows):
    for window in map(int, windows):
        say(f"outstanding/{window}", rate(pool, seconds, window, noop, 1))


def map_noops(pool, seconds):
    if isinstance(pool, Ray):
        return cannot("map", "ray: has no map of plain functions")
    sizing = Sizing(seconds, 1000)
    for tasks in sizing:
        pool.map(noop, range(tasks))
    say("map", sizing.rate)


def echoes(pool, seconds, *sizes):
    for size, window in zip(map(int, sizes[::2]), map(int, sizes[1::2])):
        say(f"echo/{size}", 2 * size * rate(pool, seconds, window, echo, bytes(size)) / 1e6)


def queued(pool, _, *counts):
    for tasks in map(int, counts):
        began = time.perf_counter()
        for future in [pool.submit(noop, number) for number in range(tasks)]:
            pool.get(future)
        say(f"queued/{tasks}", (time.perf_counter() - began) * 1e6 / tasks)


def by_workers(peer, seconds, *counts):
    for count in map(int, counts):
        pool = peer(count)
        ready(pool, count)
        say(f"workers/{count}", 1e6 / rate(pool, seconds, 1024, noop, 1))
        pool.stop()


def cpu(pool, tasks, millis):
    began = time.perf_counter()
    for future in [pool.submit(burn, millis / 1e3) for _ in range(int(tasks))]:
        pool.get(future)
    say("cpu", time.perf_counter() - began)


def mix(pool, seconds, noops, computing, millis):
    took, waiting = [], deque()
    arrivals = Arrivals(seconds, noops, computing)
    while arrivals.go_on() or waiting:
        for is_noop in arrivals.due():
            began = time.perf_counter()
            future = pool.submit(noop, 1) if is_noop else pool.submit(burn, millis / 1e3)
            waiting.append((future, began if is_noop else None))
        # They are looked at, for not every pool calls back.
        for _ in range(len(waiting)):
            future, began = waiting.popleft()
            if not pool.is_done(future):
                waiting.append((future, began))
            elif began is not None:
                took.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.001)
    say_mix(took)


def crash(pool, pids, tasks, millis):
    futures = [pool.submit(nap, millis / 1e3) for _ in range(int(tasks))]
    time.sleep(millis / 2e3)
    os.kill(min(pids), signal.SIGKILL)
    seen = Crash(pids)
    while futures and time.perf_counter() < seen.killed + PATIENCE:
        for future in [future for future in futures if pool.is_done(future)]:
            futures.remove(future)
            try:
                seen.result(pool.get(future))
            except Exception:
                seen.errors += 1
        time.sleep(0.001)
    try:
        pool.submit(noop, 1)
        why = "no new worker had a task"
    except Exception as error:
        why = f"every later submit fails with {type(error).__name__}, a new pool is needed"
    seen.say(int(tasks), millis / 1e3, f"{sys.argv[1]}: {why}")


def main():
    peer, workload = PEERS[sys.argv[1]], sys.argv[2]
    numbers = list(map(float, sys.argv[3:]))
    if workload == "workers":
        return by_workers(peer, *numbers)
    if workload == "sets":
        return cannot("sets", f"{sys.argv[1]}: its workers run one task at a time, where these sets have up to 64 that sleep")
    created = time.perf_counter()
    pool = peer(WORKERS)
    if workload == "start":
        pool.get(pool.submit(noop, 1))
        say_start(created)
    else:
        pids = ready(pool)
        if workload == "idle":
            idle(pids)
        elif workload == "crash":
            crash(pool, pids, *numbers)
        else:
            {"roundtrip": roundtrip, "outstanding": outstanding, "map": map_noops, "echo": echoes,
             "queued": queued, "cpu": cpu, "mix": mix}[workload](pool, *numbers)
    if workload != "crash":
        pool.stop()


if __name__ == "__main__":
    main()
    # A pool that lost a worker may wait for it for ever; the runner ends what is left.
    sys.stdout.flush()
    os._exit(0)
