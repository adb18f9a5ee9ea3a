"""Answers the probes of a reference pack with transformers' Llama 4, sound in several precisions or with a fault made in its code.

    python3 tests/audit/speak.py PACK MODEL_DIR OUT_DIR [NAME ...]

PACK is what `fathom logits pack` wrote of the built-in model (or prompts that `certify --probes-to` wrote, whose answers are sampled), MODEL_DIR its folder (datasets/builtin). For each speaker, OUT_DIR gets
a file of JSON lines that `cargo run --release --example certify` reads: who spoke and what the truth is, then of every probe the log
probabilities of its tokens and of an answer's. None of the faults comes from fathom's catalogue of edits: they are made in transformers, with other
spellings of what rounds numbers. Needs torch, transformers and safetensors.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers.models.llama4.modeling_llama4 as llama4
from told import LENGTH, draws, probes, sampled, told
from torch import Tensor
from transformers import Llama4ForCausalLM
from transformers.masking_utils import create_sliding_window_causal_mask

torch.manual_seed(1)
Model = Llama4ForCausalLM
Ids = list[int]


def rounded(x: Tensor, bits: int, group: int) -> Tensor:
    """Symmetric round-to-nearest in groups of the last dimension, the largest magnitude on the largest code (not ggml's layout)."""
    most = 2 ** (bits - 1) - 1
    parts = x.float().reshape(*x.shape[:-1], -1, group)
    scale = parts.abs().amax(-1, keepdim=True).clamp_min(1e-12) / most
    return ((parts / scale).round().clamp(-most, most) * scale).reshape(x.shape).to(x.dtype)


def every_layer(edit: Callable[[torch.nn.Module], None]) -> Callable[[Model], None]:
    return lambda model: [edit(layer) for layer in model.model.layers] and None


def full_attention(model: Model) -> None:
    model.config.layer_types = ["full_attention"] * model.config.num_hidden_layers
    model.model.config.layer_types = model.config.layer_types


def sliding_window(model: Model) -> None:
    model.config.sliding_window = model.config.attention_chunk_size
    llama4.create_chunked_causal_mask = create_sliding_window_causal_mask


def no_temperature(layer: torch.nn.Module) -> None:
    layer.self_attn.attn_temperature_tuning = False


def rope_base(factor: float) -> Callable[[Model], None]:
    def edit(model: Model) -> None:
        rotary = model.model.rotary_emb
        n = rotary.inv_freq.numel()
        rotary.inv_freq = rotary.inv_freq * factor ** (-torch.arange(n) / n)

    return edit


def rope_scale(factor: float) -> Callable[[Model], None]:
    def edit(model: Model) -> None:
        model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq * factor

    return edit


def two_experts(layer: torch.nn.Module) -> None:
    layer.feed_forward.router.top_k = 2


def no_shared_expert(layer: torch.nn.Module) -> None:
    layer.feed_forward.shared_expert.down_proj.weight.data.zero_()


def softmax_router(model: Model) -> None:
    del model

    def forward(self: llama4.Llama4Router, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.nn.functional.linear(x, self.weight)
        value, place = torch.topk(logits.softmax(-1), self.top_k, dim=1)
        return torch.zeros_like(logits).scatter_(1, place, value), logits

    llama4.Llama4Router.forward = forward


def rounded_cache(bits: int, group: int) -> Callable[[Model], None]:
    def edit(model: Model) -> None:
        del model
        plain = llama4.eager_attention_forward

        def attention(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, *more, **named):
            return plain(module, query, rounded(key, bits, group), rounded(value, bits, group), *more, **named)

        llama4.eager_attention_forward = attention

    return edit


def rounded_weights(bits: int, group: int) -> Callable[[Model], None]:
    def edit(model: Model) -> None:
        for name, p in model.named_parameters():
            if p.dim() == 3:  # experts are stored [expert, in, out]
                p.data = rounded(p.data.transpose(1, 2).contiguous(), bits, group).transpose(1, 2).contiguous()
            elif p.dim() == 2 and "embed" not in name and "router" not in name:
                p.data = rounded(p.data, bits, group)

    return edit


def other_weights(share: float) -> Callable[[Model], None]:
    def edit(model: Model) -> None:
        for p in model.parameters():
            p.data += share * p.data.std() * torch.randn_like(p.data)

    return edit


def cut(part: str, share: float) -> Callable[[Ids], list[int | None]]:
    """Places of a prompt that are read; what is cut is not the BOS token."""

    def edit(ids: Ids) -> list[int | None]:
        n = int((len(ids) - 1) * share + 0.5)
        first = {"start": 1, "middle": 1 + (len(ids) - 1 - n) // 2, "end": len(ids) - n}[part]
        return [i for i in range(len(ids)) if not first <= i < first + n]

    return edit


NOTHING: Callable[[Model], None] = lambda model: None
WHOLE: Callable[[Ids], list[int | None]] = lambda ids: list(range(len(ids)))
# Name: truth, precision, edit of the model, edit of the prompt.
SPEAKERS = {
    "f32": ("sound", torch.float32, NOTHING, WHOLE),
    "bf16": ("sound", torch.bfloat16, NOTHING, WHOLE),
    "f16": ("sound", torch.float16, NOTHING, WHOLE),
    "f32-sdpa": ("sound", torch.float32, NOTHING, WHOLE),
    "bf16-sdpa": ("sound", torch.bfloat16, NOTHING, WHOLE),
    "no-chunk": ("no-chunk", torch.bfloat16, full_attention, WHOLE),
    "window": ("window-for-chunk", torch.bfloat16, sliding_window, WHOLE),
    "no-temperature": ("no-temperature", torch.bfloat16, every_layer(no_temperature), WHOLE),
    "rope-base-2": ("rope-base=2", torch.bfloat16, rope_base(2.0), WHOLE),
    "rope-base-0.5": ("rope-base=0.5", torch.bfloat16, rope_base(0.5), WHOLE),
    "rope-scale-0.5": ("rope-scale=0.5", torch.bfloat16, rope_scale(0.5), WHOLE),
    "two-experts": ("experts-plus-one", torch.bfloat16, every_layer(two_experts), WHOLE),
    "no-shared-expert": ("no-shared-expert", torch.bfloat16, every_layer(no_shared_expert), WHOLE),
    "softmax-router": ("router-softmax", torch.bfloat16, softmax_router, WHOLE),
    "cache-int8": ("kv-cache=q8_0", torch.bfloat16, rounded_cache(8, 32), WHOLE),
    "cache-int4": ("kv-cache=q4_0", torch.bfloat16, rounded_cache(4, 32), WHOLE),
    "weights-int8": ("weights=q8_0", torch.bfloat16, rounded_weights(8, 128), WHOLE),
    "weights-int4": ("weights=q4_0", torch.bfloat16, rounded_weights(4, 32), WHOLE),
    "other-weights": ("other", torch.bfloat16, other_weights(0.05), WHOLE),
    "rope-base-3": ("rope-base=3", torch.bfloat16, rope_base(3.0), WHOLE),
    "cut-start": ("cut-start=0.5", torch.bfloat16, NOTHING, cut("start", 0.5)),
    "cut-middle": ("cut-middle=0.5", torch.bfloat16, NOTHING, cut("middle", 0.5)),
    "double-bos": ("double-bos", torch.bfloat16, NOTHING, lambda ids: [None, *range(len(ids))]),
    "no-bos": ("no-bos", torch.bfloat16, NOTHING, lambda ids: list(range(1, len(ids)))),
}


def speak(probes: list[dict], folder: Path, name: str, out: Path) -> None:
    truth, precision, edit_model, edit_prompt = SPEAKERS[name]
    kept = {key: getattr(llama4, key) for key in ("create_chunked_causal_mask", "eager_attention_forward")}
    router = llama4.Llama4Router.forward
    attention = "sdpa" if name.endswith("sdpa") else "eager"
    model = Llama4ForCausalLM.from_pretrained(folder, dtype=precision, attn_implementation=attention).eval()
    with torch.no_grad():
        edit_model(model)
        lines = [{"engine": f"transformers {transformers_version()} {name}", "truth": truth}]
        for probe in probes:
            ids = probe["ids"]
            places = edit_prompt(ids)
            tokens = [ids[0] if i is None else ids[i] for i in places]
            begun = time.perf_counter()
            if "tail" not in probe:
                lines.append(sampled(probe, drawn(model, tokens, draws(truth), probe["ends"]), folder, begun))
                continue
            logits = model(torch.tensor([tokens + probe["path"]])).logits[0].float()
            lines.append(told(probe, tokens, places, torch.log_softmax(logits, -1).numpy(), begun))
    for key, value in kept.items():
        setattr(llama4, key, value)
    llama4.Llama4Router.forward = router
    (out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{name}: {truth}, {len(lines) - 1} probes", flush=True)


def drawn(model: Model, tokens: list[int], n: int, ends: list[int]) -> list[list[int]]:
    asked = {"max_new_tokens": LENGTH, "num_return_sequences": n, "eos_token_id": ends, "pad_token_id": ends[0]}
    answers = model.generate(torch.tensor([tokens]), do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **asked)
    return answers[:, len(tokens) :].tolist()


def transformers_version() -> str:
    import transformers

    return transformers.__version__


def main() -> None:
    pack_path, folder, out, *names = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    for name in names or SPEAKERS:
        speak(probes(Path(pack_path)), Path(folder), name, Path(out))


if __name__ == "__main__":
    main()
