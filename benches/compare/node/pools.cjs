// The workloads on pools of Node.js: `pools.cjs PEER WORKLOAD NUMBER...`
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const WORKERS = 2;
// How long a task may be without an answer before it is taken to have none, once its worker was killed.
const PATIENCE = 8000;
const TASKS = path.join(__dirname, 'tasks.cjs');

const [peer, workload, ...numbers] = process.argv.slice(2).map((word, at) => (at < 2 ? word : Number(word)));
process.env.COMPARE_PEER = peer;

const now = () => performance.now();
const say = (key, figure) => console.log(`${key}\t${figure}`);
const cannot = (key, why) => console.log(`${key}\t-\t${peer}: ${why}`);

const PEERS = {
  piscina(count, atOnce = 1) {
    const { Piscina } = require('piscina');
    const pool = new Piscina({ filename: TASKS, minThreads: count, maxThreads: count, concurrentTasksPerWorker: atOnce });
    return {
      call: (name, input) => pool.run(input, { name }),
      // The workers are threads, of which no signal ends one alone.
      kill: () => pool.threads[0].terminate(),
      stop: () => pool.destroy(),
    };
  },
  workerpool(count) {
    const pool = require('workerpool').pool(TASKS, {
      minWorkers: count, maxWorkers: count, workerType: 'process', forkOpts: { serialization: 'advanced' },
    });
    return { call: (name, input) => pool.exec(name, [input]), stop: () => pool.terminate(true) };
  },
  'jest-worker'(count) {
    const { Worker } = require('jest-worker');
    const pool = new Worker(TASKS, { numWorkers: count, exposedMethods: ['noop', 'echo', 'nap', 'burn'] });
    return { call: (name, input) => pool[name](input), stop: () => pool.end() };
  },
};
const start = PEERS[peer];

// Who the workers are: processes, or threads of piscina's.
async function ready(pool, count = WORKERS) {
  const ids = new Set();
  while (ids.size < count) {
    for (const id of await Promise.all(Array.from({ length: 4 * count }, () => pool.call('nap', 20)))) ids.add(id);
  }
  return ids;
}

// As many of something as take the time that was asked for: the peers differ by powers of ten.
async function sized(seconds, first, run) {
  for (let count = first; ;) {
    const began = now();
    await run(count);
    const took = (now() - began) / 1e3;
    if (took >= seconds) return count / took;
    count = Math.floor(count * Math.min(Math.max((1.2 * seconds) / took, 2), 10));
  }
}

// Tasks a second of so many callers, each with one task at a time.
const rate = (pool, seconds, window, name, input) => sized(seconds, Math.max(window, 100), async (tasks) => {
  await Promise.all(Array.from({ length: window }, async () => {
    while (tasks-- > 0) await pool.call(name, input);
  }));
});

const percentile = (figures, share) => figures.sort((a, b) => a - b)[Math.min(Math.floor(figures.length * share), figures.length - 1)];

// Steps of `burn` in a millisecond. A thread cannot ask for its own CPU time in every release, so the loop is counted out: the
// quickest of several.
function stepsPerMilli() {
  const { burn } = require(TASKS);
  const steps = 2e6;
  let quickest = Infinity;
  for (let turn = 0; turn < 7; turn++) {
    const began = now();
    burn(steps);
    quickest = Math.min(quickest, now() - began);
  }
  return steps / quickest;
}

function pss() {
  return Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync('/proc/self/smaps_rollup', 'utf8'))[1]);
}

const WORKLOADS = {
  async roundtrip(pool, seconds) {
    const micros = [];
    for (const end = now() + seconds * 1e3; now() < end;) {
      const began = now();
      await pool.call('noop', 1);
      micros.push((now() - began) * 1e3);
    }
    say('roundtrip', percentile(micros, 0.5));
    say('roundtrip-p99', percentile(micros, 0.99));
  },
  async outstanding(pool, seconds, ...windows) {
    for (const window of windows) say(`outstanding/${window}`, await rate(pool, seconds, window, 'noop', 1));
  },
  async map() {
    cannot('map', 'has no map');
  },
  async echo(pool, seconds, ...sizes) {
    for (let at = 0; at < sizes.length; at += 2) {
      const [size, window] = sizes.slice(at);
      const data = new Uint8Array(size);
      say(`echo/${size}`, (2 * size * await rate(pool, seconds, window, 'echo', data)) / 1e6);
    }
  },
  async queued(pool, _, ...counts) {
    for (const tasks of counts) {
      const began = now();
      await Promise.all(Array.from({ length: tasks }, (_, number) => pool.call('noop', number)));
      say(`queued/${tasks}`, ((now() - began) * 1e3) / tasks);
    }
  },
  async cpu(pool, tasks, millis) {
    const steps = Math.floor(stepsPerMilli() * millis);
    const began = now();
    await Promise.all(Array.from({ length: tasks }, () => pool.call('burn', steps)));
    say('cpu', (now() - began) / 1e3);
  },
  async mix(pool, seconds, noops, computing, millis) {
    const steps = Math.floor(stepsPerMilli() * millis);
    const gap = (rate) => (-Math.log(1 - Math.random()) / rate) * 1e3;
    const [took, all, due, began] = [[], [], [gap(noops), gap(computing)], now()];
    for (let at = 0; at < seconds * 1e3; at = now() - began) {
      for (let kind; due[kind = due[0] < due[1] ? 0 : 1] < at; due[kind] += gap([noops, computing][kind])) {
        const submitted = now();
        all.push(kind ? pool.call('burn', steps) : pool.call('noop', 1).then(() => took.push(now() - submitted)));
      }
      await sleep(1);
    }
    await Promise.all(all);
    say('mix', percentile(took, 0.99));
    say('mix-p50', percentile(took, 0.5));
  },
  async crash(pool, tasks, millis) {
    const before = await ready(pool);
    let [results, errors, replaced, killed] = [0, 0, undefined, undefined];
    const all = Array.from({ length: tasks }, () => pool.call('nap', millis).then((id) => {
      results++;
      if (!before.has(id)) replaced ??= now() - killed;
    }, () => errors++));
    await sleep(millis / 2);
    if (pool.kill) pool.kill(); else process.kill(Math.min(...before), 'SIGKILL');
    killed = now();
    await Promise.race([Promise.all(all), sleep(PATIENCE)]);
    say('crash/results', results);
    say('crash/errors', errors);
    say('crash/unanswered', tasks - results - errors);
    if (replaced === undefined) cannot('crash/serves', 'no new worker had a task');
    else say('crash/serves', Math.max(0, replaced - millis));
  },
};

async function main() {
  if (workload === 'workers') {
    for (const count of numbers.slice(1)) {
      const pool = start(count);
      await ready(pool, count);
      say(`workers/${count}`, 1e6 / await rate(pool, numbers[0], 1024, 'noop', 1));
      await pool.stop();
    }
    return;
  }
  if (workload === 'sets') {
    if (peer !== 'piscina') return cannot('sets', 'its workers run one task at a time, where these sets have up to 64 that sleep');
    const began = now();
    for (const [sleeps, scale] of [[[0], 50], [[50], 50], [[-2, 200, -2], 25]]) {
      for (const atOnce of [8, 16, 32, 64]) {
        const pool = start(4, atOnce);
        await Promise.all(Array.from({ length: scale * atOnce }, () => pool.call('sleeps', sleeps)));
        await pool.stop();
      }
    }
    say('sets', (now() - began) / 1e3);
    return;
  }
  const alone = pss();
  const created = now();
  const pool = start(WORKERS);
  if (workload === 'start') {
    await pool.call('noop', 1);
    say('create', now() - created);
    say('start', performance.timeOrigin + now() - Number(process.env.BEGAN) * 1e3);
    return;
  }
  const ids = await ready(pool);
  if (workload === 'idle') {
    if (peer === 'piscina') {
      await sleep(500);
      // Threads have no memory of their own to look at: what the process has grown by.
      say('memory', (pss() - alone) / 1024 / WORKERS);
    } else {
      for (const pid of ids) say('worker', pid);
    }
    say('ready', 0);
    for await (const _ of process.stdin);
    return;
  }
  await WORKLOADS[workload](pool, ...numbers);
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
