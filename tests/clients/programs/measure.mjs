// Latency through the proxy as a caller in Node sees it: of events, and of leaving.
//
//   node measure.mjs NODE_MODULES PLAN
//
// Prints a line of JSON for each target: milliseconds of each event and of each leaving.
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { ca, fresh, numbers, plan, sleep } from './suite.mjs';

const now = () => performance.timeOrigin + performance.now();
const HTTP2 = plan.mode === 'h2c' || plan.mode === 'tls2';

// A call: its body as an iterable, and how to leave it.
async function call(target, path) {
  const url = new URL(target.url + path);
  if (HTTP2) {
    const session = http2.connect(target.url, { ca });
    session.on('error', (problem) => process.stderr.write(`${problem}\n`));
    const stream = session.request({ ':path': path });
    stream.on('error', (problem) => process.stderr.write(`${problem}\n`));
    return { body: stream, leave: () => stream.close(http2.constants.NGHTTP2_CANCEL), end: () => session.destroy() };
  }
  const kind = url.protocol === 'https:' ? https : http;
  const request = kind.get(url, { agent: false, ca });
  request.on('error', () => {});
  const response = await new Promise((got) => { request.on('response', got); });
  response.on('error', () => {});
  return { body: response, leave: () => request.destroy(), end: () => request.destroy() };
}

for (const target of plan.targets) {
  const events = [];
  const { body, end } = await call(target, `/sse?n=${plan.events}&every=5`);
  for await (const piece of body) {
    const came = now();
    for (const [, sent] of piece.toString().matchAll(/^data: (.*)$/gm)) events.push(came - Number(sent));
  }
  end();
  const leavings = [];
  for (const _ of numbers(plan.leavings)) {
    const id = fresh();
    const held = await call(target, `/hang?head=1&id=${id}`);
    await new Promise((got) => { held.body.once('data', got); });
    const left = now();
    held.leave();
    let told;
    do {
      await sleep(5);
      told = await (await fetch(`${target.control}/seen?id=${id}`)).json();
    } while (told.state !== 'aborted' && now() - left < 10_000);
    leavings.push((told.since ?? now()) - left);
    held.end();
  }
  console.log(JSON.stringify({ target: target.label, events, leavings }));
}
process.exit();
