"""Where every fault must show: faults.json, by the float64 oracle with one rule changed.

For each checkpoint, fault and prompt: `first_position`, the first whose logits move by more than the criterion of the
tests (2e-4 of the logits' standard deviation), and `deviation`, by how much they move there, in standard deviations. null:
nowhere in this prompt. `before` is the largest movement at any earlier position of any prompt; `worst` the largest of all.
"""

import json
from pathlib import Path

import numpy as np

from oracle import FAULTS, Oracle

HERE = Path(__file__).parent
CRITERION = 2e-4
LLAMA = ["no-rope-scaling", "rope-pairing"]


def applies(fault, config):
    if config["model_type"] == "llama":
        return fault in LLAMA
    if fault == "no-rope-scaling":
        return config["rope_parameters"]["rope_type"] != "default"
    return "qk-norm" not in fault or config["use_qk_norm"]


def main():
    rows = []
    for name in ("llama4_scout", "llama4_maverick", "llama31"):
        folder = HERE / name
        tokens = json.loads((folder / "tokens.json").read_text())
        right = Oracle(folder)
        truth = [right.logits(t) for t in tokens]
        std = np.concatenate(truth).std()
        for fault in FAULTS:
            if not applies(fault, right.config):
                continue
            oracle = Oracle(folder, fault)
            first, deviation, before, worst = [], [], 0.0, 0.0
            for t, a in zip(tokens, truth):
                moved = np.abs(oracle.logits(t) - a).max(-1) / std
                over = np.flatnonzero(moved > CRITERION)
                first.append(int(over[0]) if len(over) else None)
                deviation.append(float(f"{moved[over[0]]:.2e}") if len(over) else None)
                before = max(before, moved[: over[0] if len(over) else None].max(initial=0.0))
                worst = max(worst, moved.max())
            rows.append(dict(checkpoint=name, fault=fault, first_position=first, deviation=deviation,
                             before=float(f"{before:.2e}"), worst=float(f"{worst:.2e}")))
            print(name, fault, first, deviation, f"{before:.1e} {worst:.1e} {oracle.router_margin:.1e}")
    lines = ",\n".join("  " + json.dumps(r) for r in rows)
    (HERE / "faults.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
