"""What other tests of an API find at the cost of an audit, on the same endpoints.

    python3 tests/audit/baselines.py PACK MODEL_DIR OUT.csv [NAME ...]

Endpoints are the speakers of `speak.py` (transformers' Llama 4, sound or faulty). Each draws 8 of the pack's probes and is asked each once;
the reference is the sound model in f32. Power at 1 % (200 draws an endpoint):

- MMD: Gao, Liang, Guestrin, "Model Equality Testing" (2024): one sample of 16 tokens at temperature 1 a request, Hamming kernel within a
  prompt, 16 samples of the reference a prompt, permutations within prompts.
- LT: log probabilities of the first token of an answer (Chauvin, Le Merrer et al. 2025): mean absolute difference over the reference's 20
  most probable tokens. Services that decode the same way each time have no variance to permute, so the threshold is what the sound engines
  of the other precisions reach in 1 % of draws; without that every other precision is called another model.
- greedy: answers of 16 tokens that equal the reference's; the threshold likewise.

Needs torch, transformers, numpy and safetensors.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import speak
import torch
import transformers.models.llama4.modeling_llama4 as llama4
from safetensors import safe_open
from transformers import Llama4ForCausalLM

TOKENS, SAMPLES, REQUESTS, DRAWS, PERMUTATIONS, ALPHA = 16, 16, 8, 200, 400, 0.01


def answers(pack: dict, folder: Path, name: str, reference: bool) -> dict:
    """Of every probe: samples [n, 16], the greedy answer [16], log probabilities of the first token [vocabulary]."""
    truth, precision, edit_model, edit_prompt = speak.SPEAKERS[name]
    kept = {key: getattr(llama4, key) for key in ("create_chunked_causal_mask", "eager_attention_forward")}
    router = llama4.Llama4Router.forward
    attention = "sdpa" if name.endswith("sdpa") else "eager"
    model = Llama4ForCausalLM.from_pretrained(folder, dtype=precision, attn_implementation=attention).eval()
    torch.manual_seed(0 if reference else 1)
    told = {"truth": truth, "samples": [], "greedy": [], "first": []}
    with torch.no_grad():
        edit_model(model)
        for probe in pack["table"]["probes"]:
            ids = probe["ids"]
            tokens = torch.tensor([[ids[0] if i is None else ids[i] for i in edit_prompt(ids)]])
            fixed = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "attention_mask": torch.ones_like(tokens), "pad_token_id": 2}
            n = SAMPLES if reference else 4
            drawn = model.generate(tokens, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=n, **fixed)
            told["samples"].append(drawn[:, tokens.shape[1] :].numpy())
            told["greedy"].append(model.generate(tokens, do_sample=False, **fixed)[0, tokens.shape[1] :].numpy())
            told["first"].append(torch.log_softmax(model(tokens).logits[0, -1].float(), -1).numpy())
    for key, value in kept.items():
        setattr(llama4, key, value)
    llama4.Llama4Router.forward = router
    return told


def mmd_p_value(reference: list, own: list, rng: np.random.Generator) -> float:
    """Of one sample a prompt against the reference's; exchanged within prompts."""
    kernels = []
    for theirs, one in zip(reference, own):
        both = np.concatenate([one[None], theirs])
        kernels.append((both[:, None] == both[None]).mean(-1))

    def statistic(chosen: np.ndarray) -> float:
        total = 0.0
        for kernel, i in zip(kernels, chosen):
            others = np.delete(np.arange(len(kernel)), i)
            among = kernel[np.ix_(others, others)]
            n = len(others)
            total += (among.sum() - np.trace(among)) / (n * (n - 1)) - 2 * kernel[i, others].mean()
        return total

    observed = statistic(np.zeros(len(kernels), int))
    drawn = [statistic(rng.integers(0, SAMPLES + 1, len(kernels))) for _ in range(PERMUTATIONS)]
    return (1 + sum(d >= observed - 1e-12 for d in drawn)) / (1 + PERMUTATIONS)


def main() -> None:
    pack_path, folder, out, *names = sys.argv[1:]
    with safe_open(pack_path, "pt") as file:
        pack = json.loads(file.metadata()["fathom_audit_pack"])
    reference = answers(pack, Path(folder), "f32", True)
    top = [np.argsort(-first)[:20] for first in reference["first"]]
    rng = np.random.default_rng(1)
    told = {}
    for name in names or speak.SPEAKERS:
        told[name] = answers(pack, Path(folder), name, False)
        print(name, flush=True)
    n = len(pack["table"]["probes"])

    def draws(name: str) -> tuple[list, list, list]:
        own, p, lt, greedy = told[name], [], [], []
        for _ in range(DRAWS):
            probes = rng.choice(n, REQUESTS, replace=False)
            one = [own["samples"][i][rng.integers(len(own["samples"][i]))] for i in probes]
            p.append(mmd_p_value([reference["samples"][i] for i in probes], one, rng))
            lt.append(np.mean([np.abs(own["first"][i] - reference["first"][i])[top[i]].mean() for i in probes]))
            greedy.append(np.mean([not np.array_equal(own["greedy"][i], reference["greedy"][i]) for i in probes]))
        return p, lt, greedy

    all_draws = {name: draws(name) for name in told}
    sound = [name for name in told if told[name]["truth"] == "sound"]
    limits = [np.quantile(np.concatenate([all_draws[name][k] for name in sound]), 1 - ALPHA) for k in (1, 2)]
    with open(out, "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["endpoint", "truth", "mmd", "lt", "lt_any_difference", "greedy"])
        for name, (p, lt, greedy) in all_draws.items():
            shares = [np.mean(np.array(p) <= ALPHA), np.mean(np.array(lt) > limits[0]), np.mean(np.array(lt) > 0)]
            lines.writerow([name, told[name]["truth"], *[f"{s:.3f}" for s in shares], f"{np.mean(np.array(greedy) > limits[1]):.3f}"])


if __name__ == "__main__":
    main()
