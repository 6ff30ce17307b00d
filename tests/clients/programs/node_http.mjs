// Node's own HTTP/1.1 client: trailers both ways, 1xx, upgrades by hand, a caller that half-reads.
import http from 'node:http';
import https from 'node:https';
import { once } from 'node:events';
import { BODY, BODY_HASH, MIB, assert, awaitState, ca, check, fails, fresh, need, numbers, identity, plan, sha256 } from './suite.mjs';

const tls = plan.mode === 'tls1' || plan.mode === 'mtls';
const kind = tls ? https : http;
const secure = { ca, ...identity };
const options = { keepAlive: true, maxSockets: 200, ...secure };

// Sends a request; gives its response once the head is there.
function open(target, agent, path, more = {}) {
  const { host, port } = new URL(target.url);
  return kind.request({ host: host.split(':')[0], port, socketPath: target.socket, path, agent, ...secure, ...more });
}

async function head(request) {
  const [response] = await once(request, 'response');
  return response;
}

async function whole(response) {
  const pieces = [];
  for await (const piece of response) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function get(target, agent, path, more) {
  const request = open(target, agent, path, more);
  request.end(more?.body);
  const response = await head(request);
  return { response, body: await whole(response) };
}

for (const target of plan.targets) {
  const agent = new kind.Agent(options);
  await check(target, 'get', async () => {
    const { response, body } = await get(target, agent, '/hello');
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers['x-version'], target.version);
    assert.equal(body.toString(), 'hello');
  });
  await check(target, 'head', async () => {
    const { response, body } = await get(target, agent, '/hello', { method: 'HEAD' });
    assert.deepEqual([response.statusCode, response.headers['content-length'], body.length], [200, '5', 0]);
  });
  await check(target, 'echo of 1 MiB', async () => {
    const { body } = await get(target, agent, '/echo', { method: 'POST', body: BODY });
    assert.equal(sha256(body), BODY_HASH);
  });
  await check(target, 'chunked upload with trailers', async () => {
    need(target, 'takes_trailers');
    const request = open(target, agent, '/hash', { method: 'POST', headers: { trailer: 'x-sum' } });
    for (let start = 0; start < MIB; start += 10007) request.write(BODY.subarray(start, start + 10007));
    request.addTrailers({ 'x-sum': 'from caller' });
    request.end();
    const told = JSON.parse(await whole(await head(request)));
    assert.deepEqual([told.sha256, told.length, told.declared], [BODY_HASH, MIB, null]);
    if (target.features.includes('tells_trailers')) assert.deepEqual(told.trailers, { 'x-sum': 'from caller' });
  });
  await check(target, 'trailers of the response', async () => {
    need(target, 'trailers');
    const { response, body } = await get(target, agent, '/trailers', { headers: { te: 'trailers', connection: 'te, keep-alive' } });
    assert.equal(body.toString(), 'with trailers');
    assert.equal(response.trailers['x-checksum'], 'abc123');
  });
  await check(target, 'no content', async () => {
    for (const code of [204, 304]) {
      const { response, body } = await get(target, agent, `/status?code=${code}`);
      assert.deepEqual([response.statusCode, body.length], [code, 0]);
    }
  });
  await check(target, '103 before the response', async () => {
    need(target, 'interim');
    const { body } = await get(target, agent, '/interim');
    assert.equal(body.toString(), 'hello');
  });
  await check(target, '100-continue', async () => {
    const headers = { expect: '100-continue', 'content-length': MIB };
    const request = open(target, agent, '/hash', { method: 'POST', headers });
    request.flushHeaders();
    await once(request, 'continue');
    request.end(BODY);
    assert.equal(JSON.parse(await whole(await head(request))).sha256, BODY_HASH);
  });
  await check(target, '100-continue refused', async () => {
    need(target, 'expect');
    const headers = { expect: '100-continue', 'content-length': MIB };
    const request = open(target, undefined, '/early', { method: 'POST', headers });
    let told = false;
    request.on('continue', () => { told = true; });
    request.on('error', () => {});
    request.flushHeaders();
    const response = await head(request);
    assert.deepEqual([response.statusCode, told], [413, false]);
    request.destroy();
  });
  await check(target, 'keep-alive', async () => {
    const own = new kind.Agent({ ...options, maxSockets: 1 });
    const sockets = new Set();
    const connections = new Set();
    for (const _ of numbers(20)) {
      const request = open(target, own, '/hello');
      request.end();
      const response = await head(request);
      sockets.add(response.socket);
      connections.add(response.headers['x-connection']);
      await whole(response);
    }
    own.destroy();
    assert.equal(sockets.size, 1);
    assert(connections.size <= 2, `${connections.size} connections to the upstream`);
  });
  await check(target, '100 at once', async () => {
    const calls = numbers(100).map((each) => get(target, agent, '/echo', { method: 'POST', body: `${each}` }));
    const got = await Promise.all(calls);
    assert.deepEqual(got.map(({ body }) => body.toString()), numbers(100).map(String));
  });
  await check(target, 'answer before the upload ends', async () => {
    need(target, 'early');
    const request = open(target, undefined, '/early', { method: 'POST' });
    request.on('error', () => {});
    const response = head(request);
    for (const _ of numbers(8)) request.write(BODY);
    assert.equal((await response).statusCode, 413);
    assert.equal((await whole(await response)).toString(), 'too large');
    request.destroy();
  });
  await check(target, '20 MiB each way at once', async () => {
    need(target, 'duplex');
    const request = open(target, agent, '/echo', { method: 'POST' });
    const response = head(request);
    const send = async () => {
      for (const _ of numbers(20)) if (!request.write(BODY)) await once(request, 'drain');
      request.end();
    };
    const [, body] = await Promise.all([send(), response.then(whole)]);
    assert.equal(sha256(body), sha256(Buffer.concat(numbers(20).map(() => BODY))));
  });
  await check(target, 'broken body', async () => {
    need(target, 'broken');
    await fails(get(target, agent, '/broken?length=1'), 'a broken body with a length looked whole');
    await fails(get(target, agent, '/broken'), 'a broken body without a length looked whole');
  });
  for (const [what, query] of [['while reading', 'head=1&'], ['while waiting', '']]) {
    await check(target, `caller leaves ${what}`, async () => {
      const id = fresh();
      const request = open(target, undefined, `/hang?${query}id=${id}`);
      request.on('error', () => {});
      request.end();
      if (query) await once(await head(request), 'data');
      else await awaitState(target, id, 'open');
      request.destroy();
      await awaitState(target, id, 'aborted');
    });
  }
  await check(target, 'caller leaves while sending', async () => {
    const id = fresh();
    const request = open(target, undefined, `/hash?id=${id}`, { method: 'POST' });
    request.on('error', () => {});
    request.write(BODY.subarray(0, 65536));
    await awaitState(target, id, 'open');
    request.destroy();
    await awaitState(target, id, 'aborted');
  });
  await check(target, 'server-sent events', async () => {
    const { body } = await get(target, agent, '/sse?n=5&every=5');
    assert.equal(body.toString().match(/^data: /gm).length, 5);
  });
  agent.destroy();
}
