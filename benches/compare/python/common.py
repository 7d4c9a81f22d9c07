"""What the drivers in Python share: the tasks, what they print, and how much they measure. Like `rust/common.rs`."""

import asyncio
import os
import random
import sys
import time

WORKERS = 2
# aiomultiprocess's own, on four workers: milliseconds of each task, how many tasks, how many at once in a worker.
SETS = [
    *[((0,), 50 * each, each) for each in (8, 16, 32, 64)],
    *[((50,), 50 * each, each) for each in (8, 16, 32, 64)],
    *[((-2, 200, -2), 25 * each, each) for each in (8, 16, 32, 64)],
]
# How long a task may be without an answer before it is taken to have none, once its worker was killed.
PATIENCE = 8


def noop(number):
    return number


def echo(data):
    return data


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


def burn(seconds):
    """Computes for so long, not counting the time in which others do on the same CPU."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def noop_async(number):
    return number


async def echo_async(data):
    return data


async def nap_async(seconds):
    await asyncio.sleep(seconds)
    return os.getpid()


async def burn_async(seconds):
    burn(seconds)


def say(key, figure):
    print(key, figure, sep="\t", flush=True)


def cannot(key, why):
    print(key, "-", why, sep="\t", flush=True)


def say_start(created):
    say("create", (time.perf_counter() - created) * 1e3)
    say("start", (time.time() - float(os.environ["BEGAN"])) * 1e3)


async def sleeps_async(sleeps):
    """Milliseconds: waits for those that are not below 0, and holds its event loop for the others."""
    for millis in sleeps:
        if millis < 0:
            time.sleep(-millis / 1e3)
        else:
            await asyncio.sleep(millis / 1e3)


def percentile(figures, share):
    return sorted(figures)[min(int(len(figures) * share), len(figures) - 1)]


def say_roundtrip(micros):
    say("roundtrip", percentile(micros, 0.5))
    say("roundtrip-p99", percentile(micros, 0.99))


def say_mix(millis):
    say("mix", percentile(millis, 0.99))
    say("mix-p50", percentile(millis, 0.5))


class Arrivals:
    """Two kinds of tasks that come at random moments: which are due, whether they are of the first kind."""

    def __init__(self, seconds, *rates):
        self.began, self.seconds, self.rates = time.perf_counter(), seconds, rates
        self.next = [random.expovariate(rate) for rate in rates]

    def due(self):
        now = min(time.perf_counter() - self.began, self.seconds)
        while min(self.next) < now:
            kind = self.next.index(min(self.next))
            self.next[kind] += random.expovariate(self.rates[kind])
            yield kind == 0

    def go_on(self):
        return time.perf_counter() - self.began < self.seconds


def idle(workers):
    """Tells the runner which processes to look at, and waits until it has."""
    for pid in workers:
        say("worker", pid)
    say("ready", 0)
    sys.stdin.read()


class Sizing:
    """As many of something as take the time that was asked for: the peers differ by powers of ten."""

    def __init__(self, seconds, first):
        self.seconds, self.next, self.rate = seconds, first, 0

    def __iter__(self):
        while True:
            began = time.perf_counter()
            yield self.next
            took = time.perf_counter() - began
            self.rate = self.next / took
            if took >= self.seconds:
                return
            self.next = int(self.next * min(max(1.2 * self.seconds / took, 2), 10))


class Crash:
    """What became of the tasks when a worker was killed."""

    def __init__(self, before):
        self.before, self.killed = before, time.perf_counter()
        self.results = self.errors = 0
        self.replaced = None

    def result(self, pid):
        self.results += 1
        if pid not in self.before and self.replaced is None:
            self.replaced = time.perf_counter() - self.killed

    def say(self, tasks, nap, if_never):
        say("crash/results", self.results)
        say("crash/errors", self.errors)
        say("crash/unanswered", tasks - self.results - self.errors)
        if self.replaced is None:
            cannot("crash/serves", if_never)
        else:
            say("crash/serves", max(0, self.replaced - nap) * 1e3)
