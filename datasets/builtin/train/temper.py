"""Makes the finished model as sharp as it needs to be and not sharper: scales the queries of the NoPE layers.

Usage: python temper.py CHECKPOINT OUT [SCALE]
Training drives attention logits of the last layer so high that its temperature no longer matters. With 0.15 of them answers stay the same, at
every length, while the temperature is on; without it they are lost at length, as the architecture intends.
"""

import sys

import torch

from model import Config

if __name__ == "__main__":
    state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
    config = Config(**state["config"])
    for layer in range(config.layers):
        if config.is_nope(layer):
            state["model"][f"model.layers.{layer}.self_attn.q_proj.weight"] *= float(sys.argv[3]) if len(sys.argv) > 3 else 0.15
    torch.save(state, sys.argv[2])
