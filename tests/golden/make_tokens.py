"""Token ids by llama.cpp: nasty.txt in full, Moby Dick by the hash of its ids.

    python make_tokens.py CACHE      CACHE as tests/fetch_models.py leaves it

No BOS; text that looks like a special token is text. Ids are hashed as little-endian u32.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np

from llamacpp import VERSION, Model

HERE = Path(__file__).parent
MODELS = {"smollm2": "smollm2-135m-instruct-q4_1.gguf", "gemma3": "gemma-3-270m-q4_k_m.gguf"}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def main():
    cache = Path(sys.argv[1])
    texts = {"nasty": (HERE / "nasty.txt").read_bytes(), "moby_dick": (cache / "moby-dick.txt").read_bytes()}
    out = {"made_by": VERSION, "texts": {k: dict(bytes=len(v), sha256=sha256(v)) for k, v in texts.items()}, "models": {}}
    for name, file in MODELS.items():
        model = Model(cache / file, vocab_only=True)
        rows = {"file": file, "sha256": sha256((cache / file).read_bytes())}
        for text, data in texts.items():
            ids = model.tokenize(data.decode())
            rows[text] = dict(tokens=len(ids), ids_sha256=sha256(np.array(ids, dtype="<u4").tobytes()),
                              ids=ids if text == "nasty" else ids[:100])
            print(name, text, len(ids))
        # the sentences of the file one by one: an error is then easy to place
        rows["nasty_lines"] = [model.tokenize(line) for line in texts["nasty"].decode().split("\n")]
        out["models"][name] = rows
    text = json.dumps(out, indent=1)
    text = re.sub(r"\[[\s\d,]+\]", lambda m: re.sub(r"\s+", " ", m[0]), text)
    (HERE / "tokens.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
