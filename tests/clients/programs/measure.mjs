// Latency as a caller in Node sees it, through the proxy and past it: of events, and of leaving.
//
//   node measure.mjs NODE_MODULES PLAN
//
// Prints a line of JSON for each target: milliseconds of each event and of each leaving, both ways.
// The two ways take turns, or run beside each other, so that whatever else the machine does
// befalls both.
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { ca, fresh, numbers, plan, sleep } from './suite.mjs';

// Of a clock that all processes share, milliseconds.
const now = () => Number(process.hrtime.bigint()) / 1e6;

// A call: its body as an iterable, and how to leave it.
async function call({ mode, url: origin }, path) {
  const url = new URL(origin + path);
  if (mode === 'h2c' || mode === 'tls2') {
    const session = http2.connect(origin, { ca });
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

async function events(way) {
  const came = [];
  const { body, end } = await call(way, `/sse?n=${plan.events}&every=5`);
  for await (const piece of body) {
    const at = now();
    for (const [, sent] of piece.toString().matchAll(/^data: (.*)$/gm)) came.push(at - Number(sent));
  }
  end();
  return came;
}

async function leaving(way, control) {
  const id = fresh();
  const held = await call(way, `/hang?head=1&id=${id}`);
  await new Promise((got) => { held.body.once('data', got); });
  const left = now();
  held.leave();
  let told;
  do {
    await sleep(5);
    told = await (await fetch(`${control}/seen?id=${id}`)).json();
  } while (told.state !== 'aborted' && now() - left < 10_000);
  held.end();
  return (told.since ?? now()) - left;
}

for (const target of plan.targets) {
  const ways = { through: { mode: plan.mode, url: target.url }, direct: target.direct };
  const [through, direct] = await Promise.all([events(ways.through), events(ways.direct)]);
  const leavings = { through: [], direct: [] };
  for (const _ of numbers(plan.leavings)) {
    for (const way of Object.keys(ways)) leavings[way].push(await leaving(ways[way], target.control));
  }
  console.log(JSON.stringify({ target: target.label, events: { through, direct }, leavings }));
}
process.exit();
