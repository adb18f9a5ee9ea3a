"""The same models in float64, written from their definitions in numpy, with every fault as a switch.

Two uses: the truth at positions where transformers' own float32 product of position and frequency is off by
whole radians, and the first position at which a fault must show. `make_checkpoints.py` checks it against
transformers on every prompt before anything is written.
"""

import math
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from transformers import AutoConfig

FAULTS = [
    "no-chunk", "window-for-chunk", "no-temperature", "no-qk-norm", "qk-norm-before-rope", "qk-norm-eps",
    "router-on-output", "router-twice", "router-softmax", "experts-plus-one", "no-shared-expert",
    "no-rope-scaling", "rope-pairing",
]


def inverse_frequencies(head_dim, rope):
    """[head_dim / 2], f32 operation by operation as transformers computes them."""
    exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    power = np.float64(np.float32(rope["rope_theta"])) ** exponent.astype(np.float64)
    freq = np.float32(1) / power.astype(np.float32)
    if rope.get("rope_type", "default") == "default":
        return freq
    assert rope["rope_type"] == "llama3", rope
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    original = rope["original_max_position_embeddings"]
    out = []
    for f in freq:
        wavelen = np.float32(2 * math.pi) / f
        if wavelen > original / low:
            f = f / np.float32(factor)
        elif not wavelen < original / high:
            smooth = (np.float32(original) / wavelen - np.float32(low)) / np.float32(high - low)
            f = (np.float32(1) - smooth) * f / np.float32(factor) + smooth * f
        out.append(f)
    return np.array(out, dtype=np.float32)


def rms(x, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)


def silu(x):
    return x / (1 + np.exp(-x))


def rotate(x, cos, sin, interleaved):
    """x [n, heads, head_dim]; cos, sin [n, head_dim / 2]."""
    half = x.shape[-1] // 2
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    cos, sin = cos[:, None], sin[:, None]
    out = np.empty_like(x)
    ra, rb = a * cos - b * sin, a * sin + b * cos
    if interleaved:
        out[..., 0::2], out[..., 1::2] = ra, rb
    else:
        out[..., :half], out[..., half:] = ra, rb
    return out


class Oracle:
    """A Llama 4 or Llama 3 text model from a Hugging Face folder written by transformers 5."""

    def __init__(self, folder, fault=None):
        assert fault is None or fault in FAULTS, fault
        folder = Path(folder)
        self.config = AutoConfig.from_pretrained(folder).to_dict()
        self.w = {k: v.double().numpy() for k, v in load_file(folder / "model.safetensors").items()}
        self.fault = fault
        c = self.config
        self.llama4 = c["model_type"] == "llama4_text"
        self.head_dim = c["head_dim"]
        rope = dict(c["rope_parameters"])
        if fault == "no-rope-scaling":
            rope["rope_type"] = "default"
        self.inv_freq = inverse_frequencies(self.head_dim, rope)
        self.router_margin = math.inf  # smallest gap between the last chosen expert and the next, logits
        self.interleaved = self.llama4 != (fault == "rope-pairing")

    def mask(self, layer, pos):
        """[n, n], true where the row's token sees the column's."""
        q, k = pos[:, None], pos[None, :]
        causal = k <= q
        if not self.llama4 or self.config["layer_types"][layer] == "full_attention" or self.fault == "no-chunk":
            return causal
        size = self.config["attention_chunk_size"]
        if self.fault == "window-for-chunk":
            return causal & (k > q - size)
        return causal & (k // size == q // size)

    def attention(self, i, x, pos):
        c, n, hd = self.config, len(pos), self.head_dim
        w = lambda name: self.w[f"model.layers.{i}.self_attn.{name}_proj.weight"]
        q = (x @ w("q").T).reshape(n, -1, hd)
        k = (x @ w("k").T).reshape(n, -1, hd)
        v = (x @ w("v").T).reshape(n, -1, hd)
        use_rope = not self.llama4 or c["no_rope_layers"][i]
        norm = self.llama4 and use_rope and c["use_qk_norm"] and self.fault != "no-qk-norm"
        eps = 1e-6 if self.fault == "qk-norm-eps" else c["rms_norm_eps"]
        if norm and self.fault == "qk-norm-before-rope":
            q, k = rms(q, eps), rms(k, eps)
        if use_rope:
            angle = pos[:, None].astype(np.float64) * self.inv_freq.astype(np.float64)
            cos, sin = np.cos(angle), np.sin(angle)
            q, k = rotate(q, cos, sin, self.interleaved), rotate(k, cos, sin, self.interleaved)
        if norm and self.fault != "qk-norm-before-rope":
            q, k = rms(q, eps), rms(k, eps)
        if self.llama4 and not use_rope and c["attn_temperature_tuning"] and self.fault != "no-temperature":
            t = 1 + c["attn_scale"] * np.log1p(np.floor((pos + 1.0) / c["floor_scale"]))
            q = q * t[:, None, None]
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat(group, 1), v.repeat(group, 1)
        s = np.einsum("qhd,khd->hqk", q, k) * hd**-0.5
        s = np.where(self.mask(i, pos)[None], s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", p, v).reshape(n, -1) @ w("o").T

    def dense(self, prefix, x):
        w = lambda name: self.w[f"{prefix}.{name}_proj.weight"]
        return (silu(x @ w("gate").T) * (x @ w("up").T)) @ w("down").T

    def moe(self, prefix, x):
        c = self.config
        logits = x @ self.w[f"{prefix}.router.weight"].T
        used = c["num_experts_per_tok"] + (self.fault == "experts-plus-one")
        order = np.argsort(-logits, -1, kind="stable")
        if used < logits.shape[1]:
            ranked = np.take_along_axis(logits, order, -1)
            self.router_margin = min(self.router_margin, (ranked[:, used - 1] - ranked[:, used]).min())
        scores = 1 / (1 + np.exp(-logits))
        if self.fault == "router-softmax":
            scores = np.exp(logits - logits.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
        out = 0 if self.fault == "no-shared-expert" else self.dense(f"{prefix}.shared_expert", x)
        gate_up, down = self.w[f"{prefix}.experts.gate_up_proj"], self.w[f"{prefix}.experts.down_proj"]
        routed = np.zeros_like(x)
        for t in range(len(x)):
            for e in order[t, :used]:
                score = scores[t, e]
                h = (x[t] if self.fault == "router-on-output" else x[t] * score) @ gate_up[e]
                gate, up = np.split(h, 2)
                y = (up * silu(gate)) @ down[e]
                routed[t] += y * score if self.fault in ("router-on-output", "router-twice") else y
        return out + routed

    def logits(self, tokens, start=0):
        """[n, n_vocab] f64 of a sequence whose first token stands at `start`."""
        c, pos = self.config, np.arange(len(tokens)) + start
        eps = c["rms_norm_eps"]
        x = self.w["model.embed_tokens.weight"][np.array(tokens)]
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}"
            x = x + self.attention(i, rms(x, eps) * self.w[f"{p}.input_layernorm.weight"], pos)
            h = rms(x, eps) * self.w[f"{p}.post_attention_layernorm.weight"]
            if not self.llama4:
                x = x + self.dense(f"{p}.mlp", h)
            elif f"{p}.feed_forward.router.weight" in self.w:
                x = x + self.moe(f"{p}.feed_forward", h)
            else:
                x = x + self.dense(f"{p}.feed_forward", h)
        x = rms(x, eps) * self.w["model.norm.weight"]
        head = self.w.get("lm_head.weight", self.w["model.embed_tokens.weight"])
        return x @ head.T
