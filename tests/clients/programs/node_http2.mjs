// Node's own HTTP/2 client: many streams on one connection, trailers both ways, resets.
import http2 from 'node:http2';
import net from 'node:net';
import { once } from 'node:events';
import { BODY, BODY_HASH, MIB, assert, awaitState, ca, check, fails, fresh, need, numbers, identity, plan, sha256, sleep } from './suite.mjs';

const { NGHTTP2_CANCEL } = http2.constants;

async function whole(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function head(stream) {
  const [headers] = await once(stream, 'response');
  return headers;
}

async function get(session, path, more = {}) {
  const { body, ...fields } = more;
  const stream = session.request({ ':path': path, ...fields });
  stream.end(body);
  const headers = await head(stream);
  let trailers;
  stream.on('trailers', (fields_) => { trailers = fields_; });
  return { headers, body: await whole(stream), trailers: () => trailers };
}

function connect(target) {
  const createConnection = target.socket && (() => net.connect(target.socket));
  return http2.connect(target.url, { ca, ...identity, ...(createConnection && { createConnection }) });
}

for (const target of plan.targets) {
  const session = connect(target);
  session.on('error', () => {});
  session.setMaxListeners(0);
  await check(target, 'get', async () => {
    const { headers, body } = await get(session, '/hello');
    assert.deepEqual([headers[':status'], headers['x-version'], body.toString()], [200, target.version, 'hello']);
  });
  await check(target, 'head', async () => {
    const { headers, body } = await get(session, '/hello', { ':method': 'HEAD' });
    assert.deepEqual([headers[':status'], headers['content-length'], body.length], [200, '5', 0]);
  });
  await check(target, 'echo of 1 MiB', async () => {
    const { body } = await get(session, '/echo', { ':method': 'POST', body: BODY });
    assert.equal(sha256(body), BODY_HASH);
  });
  await check(target, 'upload with trailers', async () => {
    need(target, 'takes_trailers');
    const fields = { ':path': '/hash', ':method': 'POST', trailer: 'x-sum' };
    const stream = session.request(fields, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'from caller' }));
    stream.end(BODY);
    const told = JSON.parse(await whole(stream));
    assert.deepEqual([told.sha256, told.length, told.declared], [BODY_HASH, MIB, null]);
    if (target.features.includes('tells_trailers')) assert.equal(told.trailers['x-sum'], 'from caller');
  });
  await check(target, 'trailers of the response', async () => {
    need(target, 'trailers');
    const { body, trailers } = await get(session, '/trailers', { te: 'trailers' });
    assert.equal(body.toString(), 'with trailers');
    assert.equal(trailers()?.['x-checksum'], 'abc123');
  });
  await check(target, 'no content', async () => {
    for (const code of [204, 304]) {
      const { headers, body } = await get(session, `/status?code=${code}`);
      assert.deepEqual([headers[':status'], body.length], [code, 0]);
    }
  });
  await check(target, '103 before the response', async () => {
    need(target, 'interim');
    const { body } = await get(session, '/interim');
    assert.equal(body.toString(), 'hello');
  });
  await check(target, 'keep-alive', async () => {
    const connections = new Set();
    for (const _ of numbers(20)) connections.add((await get(session, '/hello')).headers['x-connection']);
    assert(connections.size <= 2, `${connections.size} connections to the upstream`);
  });
  await check(target, '100 at once', async () => {
    const calls = numbers(100).map((each) => get(session, '/echo', { ':method': 'POST', body: `${each}` }));
    const got = await Promise.all(calls);
    assert.deepEqual(got.map(({ body }) => body.toString()), numbers(100).map(String));
  });
  await check(target, '300 streams, 128 at a time', async () => {
    const got = await Promise.all(numbers(300).map(() => get(session, '/slow?ms=20')));
    assert.deepEqual(got.map(({ headers }) => headers[':status']), numbers(300).map(() => 200));
  });
  await check(target, 'answer before the upload ends', async () => {
    need(target, 'early');
    const stream = session.request({ ':path': '/early', ':method': 'POST' });
    stream.on('error', () => {});
    const response = head(stream);
    for (const _ of numbers(8)) stream.write(BODY);
    assert.equal((await response)[':status'], 413);
    assert.equal((await whole(stream)).toString(), 'too large');
    const { body } = await get(session, '/hello');
    assert.equal(body.toString(), 'hello');
  });
  await check(target, '20 MiB each way at once', async () => {
    need(target, 'duplex');
    const stream = session.request({ ':path': '/echo', ':method': 'POST' });
    const send = async () => {
      for (const _ of numbers(20)) if (!stream.write(BODY)) await once(stream, 'drain');
      stream.end();
    };
    const [, body] = await Promise.all([send(), whole(stream)]);
    assert.equal(sha256(body), sha256(Buffer.concat(numbers(20).map(() => BODY))));
  });
  await check(target, 'one stream read slowly holds up no other', async () => {
    const slow = session.request({ ':path': `/stream?n=${4 * MIB}` });
    await head(slow);
    slow.pause();
    await sleep(50);
    const { body } = await get(session, '/echo', { ':method': 'POST', body: BODY });
    assert.equal(sha256(body), BODY_HASH);
    assert.equal((await whole(slow)).length, 4 * MIB);
  });
  await check(target, 'broken body', async () => {
    need(target, 'broken');
    await fails(get(session, '/broken?length=1'), 'a broken body with a length looked whole');
    await fails(get(session, '/broken'), 'a broken body without a length looked whole');
  });
  for (const [what, query] of [['while reading', 'head=1&'], ['while waiting', '']]) {
    await check(target, `caller leaves ${what}`, async () => {
      const id = fresh();
      const stream = session.request({ ':path': `/hang?${query}id=${id}` });
      stream.on('error', () => {});
      stream.end();
      if (query) await once(stream, 'data');
      else await awaitState(target, id, 'open');
      stream.close(NGHTTP2_CANCEL);
      await awaitState(target, id, 'aborted');
    });
  }
  await check(target, 'caller leaves while sending', async () => {
    const id = fresh();
    const stream = session.request({ ':path': `/hash?id=${id}`, ':method': 'POST' });
    stream.on('error', () => {});
    stream.write(BODY.subarray(0, 65536));
    await awaitState(target, id, 'open');
    // `close` would end the stream before it resets it.
    stream.destroy();
    await awaitState(target, id, 'aborted');
  });
  await check(target, 'the connection breaks off', async () => {
    const another = connect(target);
    another.on('error', () => {});
    const ids = numbers(5).map(() => fresh());
    for (const id of ids) another.request({ ':path': `/hang?id=${id}` }).on('error', () => {});
    for (const id of ids) await awaitState(target, id, 'open');
    another.destroy();
    for (const id of ids) await awaitState(target, id, 'aborted');
  });
  await check(target, 'ping', async () => {
    await new Promise((done, failed) => { session.ping((problem) => (problem ? failed(problem) : done())); });
  });
  await check(target, 'server-sent events', async () => {
    const { body } = await get(session, '/sse?n=5&every=5');
    assert.equal(body.toString().match(/^data: /gm).length, 5);
  });
  session.destroy();
}
