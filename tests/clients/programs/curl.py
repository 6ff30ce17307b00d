"""curl: HTTP/1.0, HTTP/1.1 and HTTP/2, plain by prior knowledge and over TLS.

Also with a certificate of its own, to a Unix socket, and by a proxy that the environment names.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import subprocess
import tempfile

from suite import (
    BODY,
    BODY_HASH,
    MIB,
    Skip,
    await_state,
    check,
    equal,
    fresh,
    mode,
    need,
    plan,
    targets,
)

FLAGS = {
    "http10": ["--http1.0"],
    "h1": ["--http1.1"],
    "h2c": ["--http2-prior-knowledge"],
    "tls1": ["--http1.1"],
    "tls2": ["--http2"],
    "mtls": ["--http2"],
    "unix": ["--http1.1"],
    "proxy": ["--http1.1"],
    "proxy2": ["--http2"],
}

work = tempfile.mkdtemp(dir=plan["work"])
upload = f"{work}/upload"
with open(upload, "wb") as file:
    file.write(BODY)
large = f"{work}/large"
with open(large, "wb") as file:
    file.truncate(64 * MIB)


def spoken(target):
    """The version of HTTP that curl speaks: by the mode, or what ALPN agrees on."""
    http2 = mode in ("h2c", "tls2", "mtls") or (mode == "proxy2" and target["port"] == "tls2")
    return "1" if mode == "http10" else "2" if http2 else "1.1"


def way(target):
    """What of its flags and of its environment leads curl to this target."""
    if "proxy" in target:
        # The first in small letters alone: in capitals, a caller of CGI could set it.
        return [], {**os.environ, "http_proxy": target["proxy"], "HTTPS_PROXY": target["proxy"]}
    return ["--noproxy", "*", *(["--unix-socket", target["socket"]] if "socket" in target else [])], None


class Called:
    """One run of curl: its exit status, figures, heads and body."""

    def __init__(self, target, *arguments, body=None, status=0, certificate=("cert", "key")):
        flags, environment = way(target)
        if mode == "mtls" and certificate:
            flags += ["--cert", plan[certificate[0]], "--key", plan[certificate[1]]]
        head, out = f"{work}/head", f"{work}/out"
        for path in (head, out):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        command = ["curl", "--silent", "--show-error", "--no-progress-meter", "--no-keepalive", "--max-time", "30"]
        command += ["--suppress-connect-headers"]
        command += ["--cacert", plan["ca"], *FLAGS[mode], *flags]
        command += ["--dump-header", head, "--output", out, "--write-out", "%{stderr}%{json}\\n"]
        done = subprocess.run([*command, *arguments], input=body, capture_output=True, env=environment)
        self.exit = done.returncode
        if status is not None and self.exit != status:
            raise AssertionError(f"curl ended with {self.exit}: {done.stderr.decode()}")
        told = done.stderr.decode().splitlines()
        self.figures = [json.loads(line) for line in told if line.startswith('{"')]
        self.code = self.figures[-1]["response_code"]
        self.log = done.stderr.decode()
        self.head = read(head).decode("latin-1").lower()
        self.body = read(out)


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def semantics(target):
    url = target["url"]
    curl = functools.partial(Called, target)
    http2 = spoken(target) == "2"
    teach = ["-H", "te: trailers"] + ([] if http2 else ["-H", "connection: te"])

    with check(target, "get"):
        called = curl(f"{url}/hello")
        equal((called.code, called.body), (200, b"hello"))
        equal(called.figures[-1]["http_version"], spoken(target))
        assert f"x-version: {target['version']}" in called.head, called.head
    with check(target, "head"):
        called = curl("--head", f"{url}/hello")
        equal(called.code, 200)
        assert "content-length: 5" in called.head, called.head
    with check(target, "echo of 1 MiB"):
        called = curl("--data-binary", f"@{upload}", f"{url}/echo")
        equal(hashlib.sha256(called.body).hexdigest(), BODY_HASH)
    with check(target, "no content"):
        called = curl(f"{url}/status?code=204")
        equal((called.code, called.body), (204, b""))
        called = curl(f"{url}/status?code=304")
        equal((called.code, called.body), (304, b""))
    with check(target, "body of unknown length"):
        equal(len(curl(f"{url}/stream?n=300000").body), 300000)
    with check(target, "broken body"):
        need(target, "broken")
        called = curl(f"{url}/broken?length=1", status=None)
        assert called.exit != 0, "a broken body looked whole"
        # Without a length, HTTP/1.0 has no way to tell.
        if mode != "http10":
            assert curl(f"{url}/broken", status=None).exit != 0, "a broken body looked whole"
    if mode == "http10":
        return

    if mode == "mtls":
        with check(target, "another certificate, or none"):
            for certificate in (("server_cert", "server_key"), None):
                called = curl(f"{url}/hello", status=None, certificate=certificate)
                assert called.exit and not called.code, (called.exit, called.code)

    with check(target, "chunked upload"):
        called = curl("--upload-file", "-", "-X", "POST", f"{url}/hash", body=BODY)
        told = json.loads(called.body)
        equal((told["sha256"], told["length"]), (BODY_HASH, MIB))
        equal(told["declared"], None)
    with check(target, "trailers of the response"):
        need(target, "trailers")
        called = curl(*teach, f"{url}/trailers")
        equal(called.body, b"with trailers")
        assert "x-checksum: abc123" in called.head, called.head
    with check(target, "103 before the response"):
        need(target, "interim")
        called = curl(f"{url}/interim")
        equal((called.code, called.body), (200, b"hello"))
    # By prior knowledge, curl 7.88 fails at the second request of a connection, whoever answers.
    several = mode != "h2c"
    with check(target, "keep-alive"):
        if not several:
            raise Skip("curl 7.88 uses a connection by prior knowledge once")
        called = curl(*[f"{url}/hello?{each}" for each in range(20)])
        equal(sum(each["num_connects"] for each in called.figures), 1)
        connections = re.findall(r"x-connection: (\d+)", called.head)
        assert len(connections) == 20 and len(set(connections)) <= 2, connections
    with check(target, "100 at once"):
        if not several:
            raise Skip("curl 7.88 uses a connection by prior knowledge once")
        called = curl("--parallel", "--parallel-max", "100", f"{url}/slow?ms=50&i=[1-100]")
        equal([each["response_code"] for each in called.figures], [200] * 100)
    with check(target, "answer before the upload ends"):
        need(target, "early")
        if http2:
            # An answer followed by RST_STREAM with NO_ERROR (RFC 9113, section 8.1); nginx does it, too.
            raise Skip("curl 7.88 loses an HTTP/2 answer that comes while it sends")
        called = curl("--data-binary", f"@{large}", f"{url}/early", status=None)
        equal((called.code, called.body), (413, b"too large"))
    with check(target, "caller leaves"):
        id = fresh()
        curl("--max-time", "0.3", f"{url}/hang?head=1&id={id}", status=28)
        await_state(target, id, "aborted")
        id = fresh()
        curl("--max-time", "0.3", f"{url}/hang?id={id}", status=28)
        await_state(target, id, "aborted")
    with check(target, "server-sent events"):
        called = curl("--no-buffer", f"{url}/sse?n=5&every=5")
        equal(called.body.count(b"\ndata: "), 5)
    if not http2:
        with check(target, "100-continue"):
            wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "20", "--verbose"]
            called = curl(*wait, "--upload-file", upload, "-X", "POST", f"{url}/hash")
            equal(json.loads(called.body)["sha256"], BODY_HASH)
            assert "< HTTP/1.1 100 Continue" in called.log, called.log
        with check(target, "100-continue refused"):
            need(target, "expect")
            wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "20", "--verbose"]
            called = curl(*wait, "--upload-file", upload, "-X", "POST", f"{url}/early")
            equal((called.code, called.figures[-1]["size_upload"]), (413, 0))
    with check(target, "range"):
        need(target, "static")
        whole = curl(f"{url}/static/file").body
        called = curl("--range", "1000-1999", f"{url}/static/file")
        equal((called.code, called.body), (206, whole[1000:2000]))
        called = curl("--range", "0-9,100-109", f"{url}/static/file")
        equal(called.code, 206)
        assert "content-type: multipart/byteranges" in called.head, called.head
    with check(target, "not modified"):
        need(target, "static")
        head = curl("--head", f"{url}/static/file").head
        etag = next(line[6:] for line in head.splitlines() if line.startswith("etag: "))
        called = curl("-H", f"if-none-match: {etag}", f"{url}/static/file")
        equal((called.code, called.body), (304, b""))
    with check(target, "compressed by the upstream"):
        need(target, "static")
        called = curl("--compressed", f"{url}/static/text")
        assert "content-encoding: gzip" in called.head, called.head
        equal(called.body, b"the same again\n" * 10000)


for each in targets:
    semantics(each)
