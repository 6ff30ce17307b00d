"""Certificates and keys, made by openssl, and the ways in which they are renewed on disk."""

import os
import ssl
import subprocess
import time
from pathlib import Path

CERT, KEY = "tls.crt", "tls.key"
# Seconds between a certificate and its key where they are not replaced at once.
APART = 0.3


class Authority:
    """A CA; what it signs is for `localhost`, as a server and as a client."""

    def __init__(self, folder, name):
        folder.mkdir(parents=True)
        self.folder, self.name, self.signed = folder, name, 0
        self.cert, self.key = folder / "ca.pem", folder / "ca.key"
        _openssl(self.cert, self.key, name, [])

    def pair(self):
        """A new key and its certificate."""
        self.signed += 1
        cert, key = (self.folder / f"{self.signed}.{end}" for end in ("pem", "key"))
        name = f"{self.name} {self.signed}"
        signer = ["-CA", self.cert, "-CAkey", self.key]
        uses = ["basicConstraints=CA:FALSE", "subjectAltName=DNS:localhost"]
        _openssl(cert, key, name, signer + [word for use in uses for word in ("-addext", use)])
        return Pair(name, cert, key)


class Pair:
    """A certificate and its key."""

    def __init__(self, name, cert, key):
        self.name, self.cert, self.key = name, cert, key
        # What a peer sees of it.
        self.der = ssl.PEM_cert_to_DER_cert(cert.read_text())


def _openssl(cert, key, name, more):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-out", cert, "-keyout", key, *more]
    subprocess.run(command, check=True, capture_output=True)


class Secret:
    """A pair as Kubernetes mounts one: `tls.crt` leads over `..data` to a folder."""

    def __init__(self, folder, pair):
        folder.mkdir(parents=True)
        self.folder, self.version = folder, 0
        self.cert, self.key = folder / CERT, folder / KEY
        self.symlink(pair)
        for path in (self.cert, self.key):
            path.symlink_to(Path("..data") / path.name)

    def edit(self, pair):
        """Writes over the files, the key a moment later."""
        self.cert.write_bytes(pair.cert.read_bytes())
        time.sleep(APART)
        self.key.write_bytes(pair.key.read_bytes())

    def rename(self, pair):
        """Renames new files over the old ones, the key a moment later."""
        replace(self.cert.resolve(), pair.cert.read_bytes())
        time.sleep(APART)
        replace(self.key.resolve(), pair.key.read_bytes())

    def symlink(self, pair):
        """Turns `..data` to a new folder."""
        self.version += 1
        new, turned = self.folder / f"..{self.version}", self.folder / "..data_tmp"
        new.mkdir()
        (new / CERT).write_bytes(pair.cert.read_bytes())
        (new / KEY).write_bytes(pair.key.read_bytes())
        turned.symlink_to(new.name)
        os.replace(turned, self.folder / "..data")


def replace(path, content):
    """Renames a new file over `path`."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    os.replace(new, path)
