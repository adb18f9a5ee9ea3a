"""Answers the probes of a reference pack with mlx-lm's Llama 4, sound in three precisions or with a fault.

    python3 tests/audit/speak_mlx.py PACK MODEL_DIR OUT_DIR [--tuned DIR] [NAME ...]

As `speak.py`, with another program by other authors: an audit's constants were set on transformers' answers, these are what it is
certified with. Faults are made by mlx-lm's own options (rope_theta, rope_scaling, chunk size, nn.quantize, quantised keys and values) or
in its code; `--tuned` names a checkpoint that `tune.py` made, for the speaker that is another model. Needs mlx (mlx[cpu]) and mlx-lm.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx_lm.models.llama4 as llama4
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from told import LENGTH, draws, probes, sampled, told

ARGS = (
    "attention_bias attention_chunk_size head_dim hidden_size interleave_moe_layer_step intermediate_size intermediate_size_mlp "
    "max_position_embeddings num_attention_heads num_experts_per_tok num_hidden_layers num_key_value_heads num_local_experts "
    "rms_norm_eps use_qk_norm vocab_size attn_temperature_tuning floor_scale attn_scale"
).split()


def load(folder: Path, precision: mx.Dtype, **changed) -> llama4.Model:
    """The checkpoint in mlx-lm's Llama 4; `changed` are fields of its configuration."""
    config = json.loads((folder / "config.json").read_text())
    text = {name: config[name] for name in ARGS}
    text |= {"model_type": "llama4_text", "rope_scaling": None, "rope_theta": config["rope_parameters"]["rope_theta"]} | changed
    model = llama4.Model(llama4.ModelArgs(text_config=text, model_type="llama4"))
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= mx.load(str(file))
    # On a CPU mlx multiplies by the chosen experts' matrices in float32 only.
    kept = {name: array.astype(precision).astype(mx.float32) if ".experts." in name else array.astype(precision) for name, array in weights.items()}
    weights = model.sanitize({f"language_model.{name}": array for name, array in kept.items()})
    model.load_weights(list(weights.items()), strict=True)
    return model.eval()


def experts_in_f32() -> None:
    plain = llama4.SwitchGLU.__call__
    llama4.SwitchGLU.__call__ = lambda self, x, chosen: plain(self, x.astype(mx.float32), chosen).astype(x.dtype)


def rounded_cache(bits: int) -> None:
    plain = llama4.scaled_dot_product_attention

    def attention(queries, keys, values, **named):
        through = [mx.dequantize(*mx.quantize(x, group_size=32, bits=bits), group_size=32, bits=bits) for x in (keys, values)]
        return plain(queries, *[x.astype(queries.dtype) for x in through], **named)

    llama4.scaled_dot_product_attention = attention


def routed(score):
    """Another mixture of experts: `score(logits, chosen) -> weights`, applied to the experts' outputs if asked for."""

    def edit(on_output: bool = False) -> None:
        def forward(self, x):
            logits = self.router(x)
            chosen = mx.argmax(logits, axis=-1, keepdims=True)
            weight = score(logits.astype(mx.float32), chosen).astype(x.dtype)
            out = self.experts(x if on_output else x * weight, chosen).squeeze(2)
            return (out * weight if on_output else out) + self.shared_expert(x)

        llama4.MoE.__call__ = forward

    return edit


softmax = routed(lambda logits, chosen: mx.take_along_axis(mx.softmax(logits, axis=-1), chosen, axis=-1))
sigmoid = routed(lambda logits, chosen: mx.sigmoid(mx.take_along_axis(logits, chosen, axis=-1)))


def no_shared_expert() -> None:
    plain = llama4.MLP.__call__
    llama4.MLP.__call__ = lambda self, x: mx.zeros_like(plain(self, x))


def window() -> None:
    def forward(self, inputs, cache=None):
        h = self.embed_tokens(inputs)
        at = mx.arange(h.shape[1])
        ahead = at[:, None] - at
        causal = ahead >= 0
        for i, layer in enumerate(self.layers):
            h = layer(h, causal if (i + 1) % 4 == 0 else causal & (ahead < self.attention_chunk_size), cache=None)
        return self.norm(h)

    llama4.LlamaModel.__call__ = forward


def half_rope() -> None:
    plain = llama4.initialize_rope
    llama4.initialize_rope = lambda *args, **named: plain(*args, **(named | {"traditional": False}))


def quantized(bits: int):
    """mlx's own quantisation of all that it quantises; unpacked again, as its quantised products are slow on a CPU."""

    def through(path: str, module: nn.Module) -> bool:
        if hasattr(module, "to_quantized") and module.weight.shape[-1] % 64 == 0:
            packed = mx.quantize(module.weight, group_size=64, bits=bits)
            module.weight = mx.dequantize(*packed, group_size=64, bits=bits).astype(module.weight.dtype)
        return False

    return lambda model: nn.quantize(model, class_predicate=through)


def gelu() -> None:
    llama4.swiglu = lambda gate, x: nn.gelu(gate) * x


def relu() -> None:
    llama4.swiglu = lambda gate, x: nn.relu(gate) * x


def deaf(model: llama4.Model) -> None:
    layer = model.language_model.model.layers[2]
    layer.self_attn = type("Nothing", (nn.Module,), {"__call__": lambda self, x, *rest, **named: mx.zeros_like(x)})()


def skipped(model: llama4.Model) -> None:
    layers = model.language_model.model.layers
    layers[1].feed_forward = type("Nothing", (nn.Module,), {"__call__": lambda self, x: mx.zeros_like(x)})()


def scaled(by: float):
    def edit(model: llama4.Model) -> None:
        for layer in model.language_model.model.layers:
            layer.self_attn.scale *= by

    return edit


def swapped(model: llama4.Model) -> None:
    layers = model.language_model.model.layers
    layers[1], layers[2] = layers[2], layers[1]


def crossed(model: llama4.Model) -> None:
    """Each head sees the keys and values of another."""
    for layer in model.language_model.model.layers:
        for part in (layer.self_attn.k_proj, layer.self_attn.v_proj):
            heads = part.weight.reshape(layer.self_attn.n_kv_heads, -1, part.weight.shape[-1])
            part.weight = heads[::-1].reshape(part.weight.shape)


def sharper(model: llama4.Model) -> None:
    norm = model.language_model.model.norm
    norm.weight = norm.weight * 1.25


def second_expert() -> None:
    """The second most probable expert in the first one's place."""

    def forward(self, x):
        logits = self.router(x)
        chosen = mx.argsort(logits, axis=-1)[..., -2:-1]
        weight = mx.sigmoid(mx.take_along_axis(logits.astype(mx.float32), chosen, axis=-1)).astype(x.dtype)
        return self.experts(x * weight, chosen).squeeze(2) + self.shared_expert(x)

    llama4.MoE.__call__ = forward


def cut(part: str, share: float):
    def edit(ids: list[int]) -> list[int | None]:
        n = int((len(ids) - 1) * share + 0.5)
        first = {"start": 1, "middle": 1 + (len(ids) - 1 - n) // 2, "end": len(ids) - n}[part]
        return [i for i in range(len(ids)) if not first <= i < first + n]

    return edit


# Name: truth, what is changed: fields of the configuration, the program, the loaded model, the prompt.
FAULTS = {
    "no-chunk": ("no-chunk", {"fields": {"attention_chunk_size": 1 << 20}}),
    "window": ("window-for-chunk", {"code": window}),
    "no-temperature": ("no-temperature", {"fields": {"attn_temperature_tuning": 0}}),
    "theta-2": ("rope-base=2", {"fields": {"rope_theta": 2000.0}}),
    "theta-0.2": ("rope-base=0.2", {"fields": {"rope_theta": 200.0}}),
    "linear-2": ("rope-scale=0.5", {"fields": {"rope_scaling": {"type": "linear", "factor": 2.0}}}),
    "rope-halves": ("rope-pairing", {"code": half_rope}),
    "softmax": ("router-softmax", {"code": softmax}),
    "on-output": ("router-on-output", {"code": lambda: sigmoid(True)}),
    "no-shared-expert": ("no-shared-expert", {"code": no_shared_expert}),
    "cache-8": ("kv-cache=q8_0", {"code": lambda: rounded_cache(8)}),
    "cache-4": ("kv-cache=q4_0", {"code": lambda: rounded_cache(4)}),
    "weights-8": ("weights=q8_0", {"model": quantized(8)}),
    "weights-4": ("weights=q4_0", {"model": quantized(4)}),
    "cut-start": ("cut-start=0.25", {"prompt": cut("start", 0.25)}),
    "cut-middle": ("cut-middle=0.5", {"prompt": cut("middle", 0.5)}),
    "double-bos": ("double-bos", {"prompt": lambda ids: [None, *range(len(ids))]}),
    "no-bos": ("no-bos", {"prompt": lambda ids: list(range(1, len(ids)))}),
    "tuned": ("model=tuned", {"tuned": True}),
    "gelu": ("other", {"code": gelu}),
    "eps": ("other", {"fields": {"rms_norm_eps": 0.5}}),
    "layer-without-ffn": ("other", {"model": skipped}),
    "scores-halved": ("other", {"model": scaled(0.5)}),
    "scores-doubled": ("other", {"model": scaled(2.0)}),
    "layers-swapped": ("other", {"model": swapped}),
    "second-expert": ("other", {"code": second_expert}),
    "relu": ("other", {"code": relu}),
    "layer-without-attention": ("other", {"model": deaf}),
    "heads-crossed": ("other", {"model": crossed}),
    "logits-sharper": ("other", {"model": sharper}),
}
PRECISIONS = {"f32": mx.float32, "bf16": mx.bfloat16, "f16": mx.float16}
SPEAKERS = {precision: ("sound", precision, {}) for precision in PRECISIONS} | {
    f"{name}-{precision}": (truth, precision, done) for name, (truth, done) in FAULTS.items() for precision in ("bf16", "f16")
}
PATCHED = [(llama4, "scaled_dot_product_attention"), (llama4, "initialize_rope"), (llama4, "swiglu")]
PATCHED += [(owner, "__call__") for owner in (llama4.MoE, llama4.MLP, llama4.LlamaModel)]


def drawn(model: llama4.Model, tokens: list[int], n: int) -> list[list[int]]:
    """Answers after one prompt, side by side."""
    cache = make_prompt_cache(model)
    logits = model(mx.array([tokens] * n), cache=cache)[:, -1]
    steps = []
    for _ in range(LENGTH):
        steps.append(mx.random.categorical(logits.astype(mx.float32)))
        mx.eval(steps[-1])
        logits = model(steps[-1][:, None], cache=cache)[:, -1]
    return np.array(mx.stack(steps, axis=1)).tolist()


def speak(probes: list[dict], folder: Path, tuned: Path | None, name: str, out: Path) -> None:
    truth, precision, done = SPEAKERS[name]
    kept = [(owner, attribute, getattr(owner, attribute)) for owner, attribute in PATCHED]
    done.get("code", lambda: None)()
    model = load(tuned if "tuned" in done else folder, PRECISIONS[precision], **done.get("fields", {}))
    done.get("model", lambda model: None)(model)
    lines = [{"engine": f"mlx-lm {version('mlx-lm')} {name}", "truth": truth}]
    for probe in probes:
        ids = probe["ids"]
        places = done.get("prompt", lambda ids: list(range(len(ids))))(ids)
        tokens = [ids[0] if i is None else ids[i] for i in places]
        begun = time.perf_counter()
        if "tail" not in probe:
            lines.append(sampled(probe, drawn(model, tokens, draws(truth)), folder, begun))
            continue
        logits = model(mx.array([tokens + probe["path"]]))[0].astype(mx.float32)
        logs = np.array(nn.log_softmax(logits))
        lines.append(told(probe, tokens, places, logs, begun))
    for owner, attribute, plain in kept:
        setattr(owner, attribute, plain)
    (out / f"mlx-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{name}: {truth}, {len(lines) - 1} probes, {len(tree_flatten(model.parameters()))} arrays", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--tuned", type=Path)
    args = parser.parse_intermixed_args()
    asked = probes(args.pack)
    args.out.mkdir(parents=True, exist_ok=True)
    experts_in_f32()
    for name in args.names or SPEAKERS:
        if "tuned" not in SPEAKERS[name][2] or args.tuned:
            speak(asked, args.model, args.tuned, name, args.out)


if __name__ == "__main__":
    main()
