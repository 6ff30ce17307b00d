// What the programs in Node share; the same as `suite.py`. A program is called with the folder of
// node_modules and the plan.
import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

export const plan = JSON.parse(readFileSync(process.argv[3]));
export const ca = readFileSync(plan.ca);
// The caller's own certificate, where one is wanted.
export const identity = plan.mode === 'mtls' ? { cert: readFileSync(plan.cert), key: readFileSync(plan.key) } : {};
export const require = createRequire(`${process.argv[2]}/`);

export const MIB = 1 << 20;
export const BODY = randomBytes(MIB);
export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
export const BODY_HASH = sha256(BODY);
export const fresh = randomUUID;

// How long anything may take that should happen at once; never what is judged.
const PATIENCE = 10_000;

export class Skip extends Error {}

export function need(target, feature) {
  if (!target.features.includes(feature)) throw new Skip(`${target.label} lacks \`${feature}\``);
}

export async function check(target, name, body) {
  const told = { target: target.label, check: name, result: 'passed', detail: '' };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('still not done after 25 s')), 25_000);
  });
  try {
    await Promise.race([body(), late]);
  } catch (problem) {
    told.result = problem instanceof Skip ? 'skipped' : 'failed';
    const where = /programs\/([^)\n]*)/.exec(problem.stack ?? '')?.[1] ?? '';
    told.detail = problem instanceof Skip ? problem.message : `${String(problem.message ?? problem).replace(/\s+/g, ' ').slice(0, 300)} (${where})`;
  }
  clearTimeout(timer);
  console.log(JSON.stringify(told));
}

async function ask(target, path) {
  return (await fetch(target.control + path)).json();
}

export async function awaitState(target, id, wanted) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const { state } = await ask(target, `/seen?id=${id}`);
    if (state.startsWith(wanted)) return;
    if (Date.now() > end) throw new Error(`the upstream says \`${state}\` of the call, and never \`${wanted}\``);
    await sleep(10);
  }
}

export const numbers = (count) => [...Array(count).keys()];

// Waits for an error that must come.
export async function fails(promise, what) {
  try {
    await promise;
  } catch (problem) {
    if (problem instanceof assert.AssertionError) throw problem;
    return problem;
  }
  throw new assert.AssertionError({ message: what });
}

process.on('uncaughtException', (problem) => process.stderr.write(`${problem.stack}\n`));
export { assert, sleep };
