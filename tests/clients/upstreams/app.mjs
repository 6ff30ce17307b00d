// The upstream of the suite in Node: the same application over HTTP/1 and HTTP/2, plain and TLS.
//
//   node app.mjs CERT KEY SOCKET NODE_MODULES
//
// Prints one line of JSON with its ports, and with the Unix socket as `unix`. `app.py` is the same application in Python.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

const [cert, key, socketPath, modules] = process.argv.slice(2);
const tls = { cert: readFileSync(cert), key: readFileSync(key) };
const PIECE = randomBytes(65536);

// What became of calls that gave an `id`: `open`, `done` or `aborted`, and when.
const seen = new Map();
const since = new Map();
// Of a clock that all processes share, milliseconds.
const now = () => Number(process.hrtime.bigint()) / 1e6;
// Connections that ask, numbered.
const connections = new WeakMap();
let last = 0;

function connection(req) {
  const own = req.stream?.session ?? req.socket;
  if (!connections.has(own)) connections.set(own, last += 1);
  return connections.get(own);
}

function watch(id, req, res) {
  if (!id) return;
  seen.set(id, 'open');
  res.on('finish', () => seen.get(id) === 'open' && seen.set(id, 'done'));
  const gone = () => {
    if (seen.get(id) !== 'open') return;
    seen.set(id, 'aborted');
    since.set(id, now());
  };
  res.on('close', gone);
  req.on('aborted', gone);
}

async function digest(req) {
  const hash = createHash('sha256');
  let length = 0;
  for await (const piece of req) {
    hash.update(piece);
    length += piece.length;
  }
  return { sha256: hash.digest('hex'), length };
}

function json(res, value) {
  const text = JSON.stringify(value);
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  res.end(text);
}

async function pour(res, bytes) {
  for (let left = bytes; left > 0 && !res.destroyed; left -= PIECE.length) {
    const whole = res.write(left < PIECE.length ? PIECE.subarray(0, left) : PIECE);
    if (!whole) await new Promise((go) => { res.once('drain', go); res.once('close', go); });
  }
  res.end();
}

const pages = {
  '/hello'(req, res) {
    const told = { 'x-version': req.httpVersion, 'x-connection': connection(req) };
    res.writeHead(200, { 'content-type': 'text/plain', 'content-length': 5, ...told });
    res.end('hello');
  },
  '/head'(req, res) {
    json(res, { version: req.httpVersion, method: req.method, headers: req.headers });
  },
  '/echo'(req, res) {
    res.writeHead(200, { 'content-type': 'application/octet-stream' });
    req.pipe(res);
  },
  async '/hash'(req, res) {
    const body = await digest(req);
    const { 'content-length': length = null, 'transfer-encoding': encoding = null } = req.headers;
    json(res, { ...body, declared: length, encoding, trailers: req.trailers });
  },
  '/trailers'(req, res) {
    res.writeHead(200, { 'content-type': 'text/plain', trailer: 'x-checksum' });
    res.write('with trailers');
    res.addTrailers({ 'x-checksum': 'abc123' });
    res.end();
  },
  async '/sse'(req, res, query) {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    for (let event = 0; event < Number(query.get('n')); event += 1) {
      await sleep(Number(query.get('every')));
      res.write(`id: ${event}\ndata: ${now()}\n\n`);
    }
    res.end();
  },
  '/early'(req, res) {
    res.writeHead(413, { 'content-type': 'text/plain', 'content-length': 9 });
    res.end('too large');
    req.resume();
  },
  '/hang'(req, res, query) {
    if (!query.get('head')) return;
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.write('first');
  },
  '/bytes'(req, res, query) {
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': query.get('n') });
    return pour(res, Number(query.get('n')));
  },
  '/stream'(req, res, query) {
    res.writeHead(200, { 'content-type': 'application/octet-stream' });
    return pour(res, Number(query.get('n')));
  },
  '/broken'(req, res, query) {
    res.writeHead(200, { 'content-type': 'text/plain', ...(query.get('length') && { 'content-length': 1000 }) });
    res.write('x'.repeat(500));
    const broken = () => (res.stream ? res.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR) : res.socket.destroy());
    setTimeout(broken, 50);
  },
  '/status'(req, res, query) {
    res.writeHead(Number(query.get('code')), { etag: '"v1"' });
    res.end();
  },
  '/interim'(req, res) {
    res.writeEarlyHints({ link: '</style.css>; rel=preload' });
    pages['/hello'](req, res);
  },
  async '/slow'(req, res, query) {
    await sleep(Number(query.get('ms')));
    pages['/hello'](req, res);
  },
  '/seen'(req, res, query) {
    const id = query.get('id');
    json(res, { state: seen.get(id) ?? 'unknown', since: since.get(id) });
  },
};

function app(req, res) {
  const url = new URL(req.url, 'http://upstream');
  const page = pages[url.pathname];
  const failed = (error) => process.stderr.write(`${req.url}: ${error}\n`);
  req.on('error', () => {});
  res.on('error', () => {});
  if (url.pathname !== '/seen') watch(url.searchParams.get('id'), req, res);
  if (!page) {
    res.writeHead(404);
    return res.end();
  }
  return Promise.resolve(page(req, res, url.searchParams)).catch(failed);
}

// To `Expect: 100-continue`, `/early` says no at once, and everything else says yes.
function expecting(req, res) {
  if (!req.url.startsWith('/early')) res.writeContinue();
  app(req, res);
}

const servers = {
  h1: http.createServer(app),
  h2c: http2.createServer({ settings: { enableConnectProtocol: true } }, app),
  tls1: https.createServer(tls, app),
  tls2: http2.createSecureServer({ ...tls, allowHTTP1: true }, app),
  unix: http.createServer(app),
  control: http.createServer(app),
};

// WebSocket, by upgrade and by extended CONNECT, and refusals of both.
let sockets;
try {
  sockets = createRequire(`${modules}/`)('ws');
} catch {
  sockets = undefined;
}
if (sockets) {
  const wss = new sockets.WebSocketServer({
    noServer: true,
    perMessageDeflate: { threshold: 0 },
    maxPayload: 16 << 20,
    handleProtocols: (offered) => (offered.has('chat.v2') ? 'chat.v2' : false),
  });
  wss.on('connection', (socket, req) => {
    const id = new URL(req.url, 'http://upstream').searchParams.get('id');
    if (id) seen.set(id, 'open');
    socket.on('error', () => {});
    socket.on('close', (code, reason) => id && seen.set(id, `closed ${code} ${reason}`));
    socket.on('message', (data, binary) => {
      const text = binary ? '' : data.toString();
      if (text.startsWith('close ')) socket.close(Number(text.split(' ')[1]), 'as asked');
      else if (text === 'ping') socket.ping('from upstream', false, () => socket.send('pinged'));
      else if (text === 'die') socket.terminate();
      else socket.send(data, { binary });
    });
  });
  for (const name of ['h1', 'tls1', 'tls2', 'unix']) {
    servers[name].on('upgrade', (req, socket, head) => {
      socket.on('error', () => {});
      if (!req.url.startsWith('/ws')) return socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
      return wss.handleUpgrade(req, socket, head, (upgraded) => wss.emit('connection', upgraded, req));
    });
  }
  // What `handleUpgrade` does, for which there is no such call over HTTP/2.
  servers.h2c.on('connect', (req, res) => {
    const { stream } = res;
    stream.on('error', () => {});
    if (req.headers[':protocol'] !== 'websocket' || !req.url.startsWith('/ws')) {
      stream.respond({ ':status': 403 }, { endStream: true });
      return;
    }
    const offered = (req.headers['sec-websocket-protocol'] ?? '').split(/ *, */);
    stream.respond({ ':status': 200, ...(offered.includes('chat.v2') && { 'sec-websocket-protocol': 'chat.v2' }) });
    const socket = new sockets.WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
    socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 16 << 20 });
    wss.emit('connection', socket, req);
  });
}

const ports = {};
await Promise.all(Object.entries(servers).map(([name, server]) => {
  if (!name.startsWith('h2c')) server.on('checkContinue', expecting);
  const where = name === 'unix' ? { path: socketPath } : { host: '127.0.0.1', port: 0 };
  return new Promise((listening) => server.listen(where, () => {
    ports[name] = server.address().port ?? socketPath;
    listening();
  }));
}));
console.log(JSON.stringify(ports));
