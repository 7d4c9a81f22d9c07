"""The workloads on aiomultiprocess: `aio.py WORKLOAD NUMBER...`"""

import asyncio
import os
import signal
import sys
import time

from aiomultiprocess import Pool

from common import (
    PATIENCE, SETS, WORKERS, Crash, Sizing,
    Arrivals, burn_async, echo_async, idle, nap_async, noop_async, say, say_mix, say_roundtrip, say_start, sleeps_async,
)


async def ready(pool, count=WORKERS):
    """The process ids of all workers, which have so all run something."""
    pids = set()
    while len(pids) < count:
        pids |= set(await pool.map(nap_async, [0.02] * (40 * count)))
    return pids


async def rate(pool, seconds, window, function, argument):
    """Tasks a second of so many callers, each with one task at a time."""
    async def caller():
        nonlocal left
        while left > 0:
            left -= 1
            await pool.apply(function, (argument,))

    sizing = Sizing(seconds, window if window <= 16 else max(window, 100))
    for left in sizing:
        await asyncio.gather(*[caller() for _ in range(window)])
    return sizing.rate


async def roundtrip(pool, seconds):
    micros, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        await pool.apply(noop_async, (1,))
        micros.append((time.perf_counter() - began) * 1e6)
    say_roundtrip(micros)


async def outstanding(pool, seconds, *windows):
    for window in map(int, windows):
        say(f"outstanding/{window}", await rate(pool, seconds, window, noop_async, 1))


async def map_noops(pool, seconds):
    sizing = Sizing(seconds, 1000)
    for tasks in sizing:
        await pool.map(noop_async, range(tasks))
    say("map", sizing.rate)


async def echoes(pool, seconds, *sizes):
    for size, window in zip(map(int, sizes[::2]), map(int, sizes[1::2])):
        say(f"echo/{size}", 2 * size * await rate(pool, seconds, window, echo_async, bytes(size)) / 1e6)


async def queued(pool, _, *counts):
    for tasks in map(int, counts):
        began = time.perf_counter()
        await asyncio.gather(*[pool.apply(noop_async, (number,)) for number in range(tasks)])
        say(f"queued/{tasks}", (time.perf_counter() - began) * 1e6 / tasks)


async def by_workers(seconds, *counts):
    for count in map(int, counts):
        async with Pool(count) as pool:
            await ready(pool, count)
            say(f"workers/{count}", 1e6 / await rate(pool, seconds, 1024, noop_async, 1))


async def cpu(pool, tasks, millis):
    began = time.perf_counter()
    await asyncio.gather(*[pool.apply(burn_async, (millis / 1e3,)) for _ in range(int(tasks))])
    say("cpu", time.perf_counter() - began)


async def mix(pool, seconds, noops, computing, millis):
    took, tasks = [], []

    async def noop(began):
        await pool.apply(noop_async, (1,))
        took.append((time.perf_counter() - began) * 1e3)

    arrivals = Arrivals(seconds, noops, computing)
    while arrivals.go_on():
        for is_noop in arrivals.due():
            task = noop(time.perf_counter()) if is_noop else pool.apply(burn_async, (millis / 1e3,))
            tasks.append(asyncio.ensure_future(task))
        await asyncio.sleep(0.001)
    await asyncio.gather(*tasks)
    say_mix(took)


async def sets():
    took = 0
    for sleeps, tasks, at_once in SETS:
        began = time.perf_counter()
        async with Pool(4, childconcurrency=at_once) as pool:
            await pool.map(sleeps_async, [sleeps] * tasks)
        await pool.join()
        took += time.perf_counter() - began
    say("sets", took)


async def crash(pool, pids, tasks, millis):
    async def caller():
        try:
            pid = await pool.apply(nap_async, (millis / 1e3,))
        except Exception:
            seen.errors += 1
        else:
            seen.result(pid)

    callers = [asyncio.ensure_future(caller()) for _ in range(int(tasks))]
    seen = Crash(pids)
    # Its queues are polled, so tasks take a while to get to the workers.
    await asyncio.sleep(millis / 2e3)
    os.kill(min(pids), signal.SIGKILL)
    seen.killed = time.perf_counter()
    await asyncio.wait(callers, timeout=PATIENCE)
    seen.say(int(tasks), millis / 1e3, "aiomultiprocess: no new worker had a task")


async def main():
    workload, numbers = sys.argv[1], list(map(float, sys.argv[2:]))
    if workload == "workers":
        return await by_workers(*numbers)
    if workload == "sets":
        return await sets()
    created = time.perf_counter()
    pool = Pool(WORKERS)
    if workload == "start":
        await pool.apply(noop_async, (1,))
        return say_start(created)
    pids = await ready(pool)
    if workload == "idle":
        # In a thread, for the pool's own loop has to go on.
        return await asyncio.to_thread(idle, pids)
    if workload == "crash":
        return await crash(pool, pids, *numbers)
    await {"roundtrip": roundtrip, "outstanding": outstanding, "map": map_noops, "echo": echoes,
           "queued": queued, "cpu": cpu, "mix": mix}[workload](pool, *numbers)


async def run():
    await main()
    # A pool that lost tasks never ends by itself; the runner ends the workers that are left.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(run())
