// undici, which is behind Node's fetch: HTTP/1.1 with pipelining, HTTP/2 over TLS, its WebSocket.
// Also with a certificate of its own, to a Unix socket, and by its ProxyAgent.
import { Readable } from 'node:stream';
import { Skip, BODY, BODY_HASH, MIB, assert, awaitState, ca, check, fails, fresh, identity, need, numbers, plan, require, sha256 } from './suite.mjs';

const { Agent, Client, ProxyAgent, WebSocket, fetch, request } = require('undici');
const http2 = plan.mode === 'tls2' || plan.mode === 'mtls';

for (const target of plan.targets) {
  const connect = { ca, ...identity, ...(target.socket && { socketPath: target.socket }) };
  // As a rule it asks for tunnels; without, an `http:` URL goes to the proxy whole.
  const proxied = { uri: target.proxy, requestTls: connect, proxyTunnel: false, allowH2: false };
  const dispatcher = target.proxy ? new ProxyAgent(proxied) : new Agent({ connect, allowH2: http2 });
  const get = async (path, more = {}) => {
    const got = await request(target.url + path, { dispatcher, ...more });
    const body = Buffer.from(await got.body.arrayBuffer());
    return { ...got, body };
  };
  await check(target, 'get', async () => {
    const { statusCode, headers, body } = await get('/hello');
    assert.deepEqual([statusCode, headers['x-version'], body.toString()], [200, target.version, 'hello']);
  });
  await check(target, 'fetch', async () => {
    const got = await fetch(`${target.url}/echo`, { dispatcher, method: 'POST', body: BODY });
    assert.equal(sha256(Buffer.from(await got.arrayBuffer())), BODY_HASH);
  });
  await check(target, 'head', async () => {
    const { statusCode, headers, body } = await get('/hello', { method: 'HEAD' });
    assert.deepEqual([statusCode, headers['content-length'], body.length], [200, '5', 0]);
  });
  await check(target, 'chunked upload', async () => {
    const pieces = function* pieces() {
      for (let start = 0; start < MIB; start += 10007) yield BODY.subarray(start, start + 10007);
    };
    const { body } = await get('/hash', { method: 'POST', body: Readable.from(pieces()) });
    const told = JSON.parse(body);
    assert.deepEqual([told.sha256, told.length, told.declared], [BODY_HASH, MIB, null]);
  });
  await check(target, 'trailers of the response', async () => {
    need(target, 'trailers');
    if (http2) throw new Skip('undici tells no trailers over HTTP/2');
    const got = await get('/trailers', { headers: { te: 'trailers' } });
    assert.equal(got.body.toString(), 'with trailers');
    assert.equal(got.trailers['x-checksum'], 'abc123');
  });
  await check(target, 'no content', async () => {
    for (const code of [204, 304]) {
      const { statusCode, body } = await get(`/status?code=${code}`);
      assert.deepEqual([statusCode, body.length], [code, 0]);
    }
  });
  await check(target, 'keep-alive', async () => {
    if (target.proxy && target.url.startsWith('https')) throw new Skip('undici opens a tunnel for each request once it has sent a HEAD');
    const connections = new Set();
    for (const _ of numbers(20)) connections.add((await get('/hello')).headers['x-connection']);
    assert(connections.size <= 2, `${connections.size} connections to the upstream`);
  });
  await check(target, '100 at once', async () => {
    const calls = numbers(100).map((each) => get('/echo', { method: 'POST', body: `${each}` }));
    const got = await Promise.all(calls);
    assert.deepEqual(got.map(({ body }) => body.toString()), numbers(100).map(String));
  });
  if (!http2 && !target.proxy) {
    await check(target, 'pipelining', async () => {
      const client = new Client(target.url, { connect, pipelining: 10 });
      const calls = numbers(50).map((each) => client.request({ method: 'GET', path: `/slow?ms=${(each * 7) % 20}` }));
      const got = await Promise.all(calls.map(async (call) => (await (await call).body.text())));
      await client.close();
      assert.deepEqual(got, numbers(50).map(() => 'hello'));
    });
  }
  await check(target, 'broken body', async () => {
    need(target, 'broken');
    await fails(get('/broken?length=1'), 'a broken body with a length looked whole');
    await fails(get('/broken'), 'a broken body without a length looked whole');
  });
  for (const [what, query] of [['while reading', 'head=1&'], ['while waiting', '']]) {
    await check(target, `caller leaves ${what}`, async () => {
      const id = fresh();
      const leaving = new AbortController();
      const call = request(`${target.url}/hang?${query}id=${id}`, { dispatcher, signal: leaving.signal });
      call.then(({ body }) => body.on('error', () => {}), () => {});
      if (query) await call;
      else await awaitState(target, id, 'open');
      leaving.abort();
      await awaitState(target, id, 'aborted');
    });
  }
  await check(target, 'server-sent events', async () => {
    const { body } = await get('/sse?n=5&every=5');
    assert.equal(body.toString().match(/^data: /gm).length, 5);
  });
  if (!http2) {
    await check(target, 'WebSocket', async () => {
      need(target, 'websocket');
      const socket = new WebSocket(`${target.url.replace('http', 'ws')}/ws`, { dispatcher, protocols: ['chat.v2'] });
      socket.binaryType = 'arraybuffer';
      const got = new Promise((done, failed) => {
        socket.onopen = () => socket.send(BODY);
        socket.onmessage = ({ data }) => done(Buffer.from(data));
        socket.onerror = failed;
      });
      assert.equal(sha256(await got), BODY_HASH);
      assert.equal(socket.protocol, 'chat.v2');
      const closed = new Promise((done) => { socket.onclose = ({ code }) => done(code); });
      socket.send('close 4002');
      assert.equal(await closed, 4002);
    });
  }
  await dispatcher.destroy();
}
