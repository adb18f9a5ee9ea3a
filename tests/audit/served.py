"""A server's answers to the probes of a reference pack, recorded by `fathom audit`: for `speak_llama.py` and `speak_vllm.py`."""

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path


def record(command: list[str], port: int, fathom: str, pack: str, file: Path, engine: str, truth: str, **environment: str) -> None:
    """Starts a server by `command`, has `fathom` put the pack's probes to it, and writes who spoke to the file's first line; ends the server.

    What the server prints goes to a log beside the file. Raises `subprocess.CalledProcessError` where the server does not start or answer.
    """
    with file.with_suffix(".log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        try:
            base = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    if server.poll() is not None or urllib.request.urlopen(f"{base}/health").status == 200:
                        break
                except OSError:
                    time.sleep(1)
            subprocess.run([fathom, "audit", "--reference", pack, "--endpoint", f"{base}/v1", "--record", str(file)], check=True, stdout=subprocess.DEVNULL)
            first, *rest = file.read_text().splitlines()
            first = json.loads(first) | {"engine": engine, "truth": truth}
            file.write_text("\n".join([json.dumps(first), *rest, ""]))
            print(f"{engine}: {truth}, {len(rest)} probes", flush=True)
        finally:
            server.terminate()
            server.wait()
