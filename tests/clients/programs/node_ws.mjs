// Node's `ws`: frames of every kind, compression, closing from either side. Over HTTP/2 its frames
// are in streams of Node's own client, opened by extended CONNECT (RFC 8441).
import http2 from 'node:http2';
import { once } from 'node:events';
import { BODY, assert, awaitState, ca, check, fresh, need, numbers, plan, require } from './suite.mjs';

const { WebSocket, PerMessageDeflate, extension } = require('ws');
const HTTP2 = plan.mode === 'h2c' || plan.mode === 'tls2';
let session;

// A stream that is a WebSocket from here on, or the status of the refusal.
async function request(path, protocols, deflate) {
  if (!session.remoteSettings.enableConnectProtocol) await once(session, 'remoteSettings');
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': path,
    'sec-websocket-version': '13',
    'sec-websocket-extensions': extension.format({ 'permessage-deflate': deflate.offer() }),
    ...(protocols && { 'sec-websocket-protocol': protocols.join(', ') }),
  });
  stream.on('error', () => {});
  const [headers] = await once(stream, 'response');
  return { headers, stream };
}

// What `ws` does with an upgrade, for which it has no such call over HTTP/2.
async function connect(path, protocols) {
  const deflate = new PerMessageDeflate({ isServer: false });
  const { headers, stream } = await request(path, protocols, deflate);
  assert.equal(headers[':status'], 200);
  const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
  socket._isServer = false;
  socket._protocol = headers['sec-websocket-protocol'] ?? '';
  const offers = headers['sec-websocket-extensions'];
  const agreed = offers && extension.parse(offers)['permessage-deflate'];
  if (agreed) {
    deflate.accept(agreed);
    socket._extensions['permessage-deflate'] = deflate;
  }
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 16 << 20 });
  return socket;
}

async function refusal(target, path) {
  if (HTTP2) return (await request(path, undefined, new PerMessageDeflate())).headers[':status'];
  const socket = new WebSocket(target.url.replace('http', 'ws') + path, { ca });
  const [, response] = await once(socket, 'unexpected-response');
  socket.terminate();
  return response.statusCode;
}

async function open(target, path, ...more) {
  const socket = HTTP2 ? await connect(path, ...more) : new WebSocket(target.url.replace('http', 'ws') + path, ...more, { ca });
  const answers = [];
  const waiting = [];
  socket.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    if (waiting.length) waiting.shift()(message);
    else answers.push(message);
  });
  socket.receive = () => (answers.length ? Promise.resolve(answers.shift()) : new Promise((got) => { waiting.push(got); }));
  if (!HTTP2) await once(socket, 'open');
  return socket;
}

for (const target of plan.targets) {
  if (HTTP2) session = http2.connect(target.url, { ca });
  session?.on('error', () => {});
  await check(target, 'text and binary', async () => {
    const socket = await open(target, '/ws', ['chat.v1', 'chat.v2']);
    assert.equal(socket.protocol, 'chat.v2');
    for (const sent of ['', 'text', '\u00e4\u4e16'.repeat(1000), Buffer.alloc(0), BODY]) {
      socket.send(sent);
      assert.deepEqual(await socket.receive(), sent);
    }
    socket.close();
  });
  await check(target, 'compression', async () => {
    need(target, 'deflate');
    const socket = await open(target, '/ws');
    assert.match(socket.extensions, /permessage-deflate/);
    socket.send('the same again '.repeat(10000));
    assert.equal(await socket.receive(), 'the same again '.repeat(10000));
    socket.close();
  });
  await check(target, 'ping', async () => {
    const socket = await open(target, '/ws');
    const pong = once(socket, 'pong');
    socket.ping('from caller');
    assert.equal((await pong)[0].toString(), 'from caller');
    socket.close();
  });
  await check(target, '1000 messages on each of 20', async () => {
    await Promise.all(numbers(20).map(async () => {
      const socket = await open(target, '/ws');
      for (const each of numbers(1000)) socket.send(`${each}`);
      for (const each of numbers(1000)) assert.equal(await socket.receive(), `${each}`);
      socket.close();
    }));
  });
  await check(target, 'upstream closes', async () => {
    const socket = await open(target, '/ws');
    socket.send('close 4002');
    const [code, reason] = await once(socket, 'close');
    assert.deepEqual([code, reason.toString()], [4002, 'as asked']);
  });
  await check(target, 'caller vanishes', async () => {
    const id = fresh();
    const socket = await open(target, `/ws?id=${id}`);
    await awaitState(target, id, 'open');
    socket.terminate();
    await awaitState(target, id, 'closed 1006');
  });
  await check(target, 'refused', async () => {
    assert.equal(await refusal(target, '/elsewhere'), 403);
  });
  session?.destroy();
}
