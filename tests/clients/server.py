"""Starts `fathom serve` on the built-in model for as long as a `with` block runs, and runs other verbs of it."""

import contextlib
import json
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

TEMPLATE = ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}")


@contextlib.contextmanager
def serving(fathom, *more):
    """The base address, /v1 included."""
    with tempfile.NamedTemporaryFile("w", suffix=".jinja") as template:
        template.write(TEMPLATE)
        template.flush()
        command = [fathom, "serve", "--port", "0", "--chat-template", template.name, *more]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield re.search(r"http://\S+/v1", server.stdout.readline()).group()
        finally:
            server.send_signal(signal.SIGINT)
            code = server.wait(30)
            assert code == 0, f"fathom serve ended with {code}"


def generate(fathom, prompt, n):
    """`fathom generate --json`: ids, log probabilities, text."""
    command = [fathom, "generate", "--prompt", prompt, "--max-tokens", str(n), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def logprobs(fathom, sequences):
    """Of each sequence the log probabilities [n - 1, n_vocab] of what follows its tokens, in float64."""
    with tempfile.TemporaryDirectory() as folder:
        tokens, out = Path(folder, "tokens.json"), Path(folder, "logits.safetensors")
        tokens.write_text(json.dumps(sequences))
        command = [fathom, "logits", "record", "--tokens", tokens, "--out", out]
        subprocess.run(command, check=True, capture_output=True)
        file = load_file(out)
    logits = file["logits"].astype(np.float64)
    top = logits.max(-1, keepdims=True)
    all_rows = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    ends = file["offsets"]
    return [all_rows[a:b - 1] for a, b in zip(ends, ends[1:])]
