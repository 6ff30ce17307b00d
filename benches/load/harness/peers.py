"""The proxies that are compared: one TOML file each in `peers/`."""

import importlib.util
import os
import shutil
import string
import subprocess
import tomllib
from pathlib import Path

from . import build
from .process import spawn, stop, wait_port

FOLDER = build.HERE / "peers"

# Where Debian puts daemons; not on everybody's path.
DAEMONS = "/usr/local/sbin:/usr/sbin:/sbin"


def names():
    """Every peer there is a file for."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


class NotInstalled(Exception):
    """The peer's binary is not here; says how to get it."""


class Peer:
    """One proxy, with a configuration that listens on LISTEN and forwards to BACKEND."""

    def __init__(self, name):
        self.name = name
        self.settings = tomllib.loads((FOLDER / f"{name}.toml").read_text())
        self.direct = self.settings.get("direct", False)
        self.folder = build.SCRATCH / "peers" / name
        self.log = self.folder / "log"
        self.binary = None if self.direct else self._find()

    def _find(self):
        if self.name == "outrigger":
            return build.outrigger()
        command = self.settings["binary"]
        named = os.environ.get(f"BENCH_{command.upper()}")
        packaged = _in_python_package(self.settings.get("python_package"))
        path = os.environ.get("PATH", "") + os.pathsep + DAEMONS
        found = named or packaged or shutil.which(command, path=path)
        if not found:
            raise NotInstalled(f"{command} is not installed ({self.settings['install']})")
        return Path(found)

    def version(self):
        """What it calls itself, on one line."""
        if self.direct:
            return self.settings["description"]
        command = [self._fill(word, {}) for word in self.settings["version"]]
        output = subprocess.run(
            command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ).stdout
        return next((line.strip() for line in output.splitlines() if line.strip()), "")

    def start(self, ports, threads, cpus):
        """Starts it afresh; returns once it listens."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        values = dict(ports, THREADS=threads, DIR=self.folder)
        values["CONF"] = self.folder / self.settings["config_name"]
        values["CONF"].write_text(self._fill(self.settings["config"], values))
        command = [self._fill(word, values) for word in self.settings["cmd"]]
        with open(self.log, "w") as log:
            process = spawn(command, log, cpus)
        try:
            wait_port(ports["LISTEN"], process)
        except RuntimeError:
            stop(process)
            raise
        return process

    def last_words(self):
        """The end of its log."""
        return self.log.read_text()[-300:] if self.log.exists() else ""

    def _fill(self, text, values):
        return string.Template(text).safe_substitute(values, BINARY=self.binary)


def _in_python_package(path):
    """A file in an installed Python package, without running the package."""
    if not path:
        return None
    package, _, rest = path.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / rest).exists():
            return Path(folder) / rest
    return None
