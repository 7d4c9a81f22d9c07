// What the workers of the pools of Node.js run.
'use strict';
const { threadId } = require('node:worker_threads');

const tasks = {
  noop: (number) => number,
  echo: (data) => data,
  // Waits, and says in which process, or thread, it did.
  nap: (millis) => new Promise((done) => { setTimeout(() => done(threadId || process.pid), millis); }),
  // Milliseconds: waits for those that are not below 0, and holds its event loop for the others.
  async sleeps(sleeps) {
    for (const millis of sleeps) {
      if (millis < 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, -millis);
      else if (millis > 0) await new Promise((done) => { setTimeout(done, millis); });
      else await new Promise(setImmediate);
    }
  },
  burn(steps) {
    let state = 1;
    for (let step = 0; step < steps; step++) state = (Math.imul(state, 1103515245) + step) | 0;
    return state;
  },
};
// Only in its own workers, which it starts by this file.
if (process.env.COMPARE_PEER === 'workerpool' && process.send) require('workerpool').worker(tasks);
module.exports = tasks;
