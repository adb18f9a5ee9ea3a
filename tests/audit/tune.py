"""Another model of the family: the built-in one, trained a little further on noise, as a checkpoint.

    python3 tests/audit/tune.py datasets/builtin OUT_DIR

Twenty steps of AdamW (seed 1) on random tokens move every weight by about 1 %. Needs torch and transformers.
"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import Llama4ForCausalLM


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    torch.manual_seed(1)
    model = Llama4ForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    for _ in range(20):
        ids = torch.randint(3, model.config.vocab_size, (4, 128))
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.to(torch.bfloat16).save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (folder / name).exists():
            shutil.copy(folder / name, out / name)


if __name__ == "__main__":
    main()
