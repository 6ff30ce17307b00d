// Node's `ws`: frames of every kind, compression, closing from either side.
import { once } from 'node:events';
import { BODY, assert, awaitState, ca, check, fresh, need, numbers, plan, require } from './suite.mjs';

const { WebSocket } = require('ws');

async function open(target, path, ...more) {
  const socket = new WebSocket(target.url.replace('http', 'ws') + path, ...more, { ca });
  const answers = [];
  const waiting = [];
  socket.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    if (waiting.length) waiting.shift()(message);
    else answers.push(message);
  });
  socket.receive = () => (answers.length ? Promise.resolve(answers.shift()) : new Promise((got) => { waiting.push(got); }));
  await once(socket, 'open');
  return socket;
}

for (const target of plan.targets) {
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
    need(target, 'deflate');
    const socket = new WebSocket(`${target.url.replace('http', 'ws')}/elsewhere`, { ca });
    const [, response] = await once(socket, 'unexpected-response');
    assert.equal(response.statusCode, 403);
    socket.terminate();
  });
}
