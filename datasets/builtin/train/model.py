"""A small Llama 4 (text) in plain PyTorch, its parameters named and shaped as transformers' `Llama4ForCausalLM` has them.

A state dict of `Llama4` is therefore a checkpoint of transformers. B: sequences, L: tokens, D: width, H: heads, K: width of a head,
E: experts, M: width of an expert, V: vocabulary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Config:
    """The shape, and the two switches (`chunked`, `temperature`) that an evaluation turns off to show what they do."""

    vocab: int = 2048
    dim: int = 128
    layers: int = 4
    heads: int = 4
    head_dim: int = 32
    experts: int = 4
    hidden: int = 256
    nope_every: int = 4
    chunk: int = 448
    floor_scale: int = 128
    attn_scale: float = 0.3
    theta: float = 1000.0
    eps: float = 1e-5
    chunked: bool = True
    temperature: bool = True

    def is_nope(self, layer: int) -> bool:
        """Every `nope_every`-th layer has no positions and sees everything."""
        return (layer + 1) % self.nope_every == 0


class RMSNorm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE over interleaved pairs (2k, 2k + 1); x [B, L, H, K], cos and sin [L, 1, K / 2]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Attention(nn.Module):
    """Chunked with RoPE, or full with a temperature that grows with the position."""

    def __init__(self, config: Config, layer: int):
        super().__init__()
        self.config, self.nope = config, config.is_nope(layer)
        width = config.heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, width, bias=False)
        self.k_proj = nn.Linear(config.dim, width, bias=False)
        self.v_proj = nn.Linear(config.dim, width, bias=False)
        self.o_proj = nn.Linear(width, config.dim, bias=False)

    def forward(self, x: Tensor, last: int | None = None) -> Tensor:
        """[B, L, D] to [B, L, D], or to [B, last, D]: the outputs of the last tokens only."""
        c = self.config
        batch, length, _ = x.shape
        q, k, v = (p(x).view(batch, length, c.heads, c.head_dim) for p in (self.q_proj, self.k_proj, self.v_proj))
        position = torch.arange(length, device=x.device, dtype=torch.float32)
        if not self.nope:
            frequency = c.theta ** (-torch.arange(0, c.head_dim, 2, device=x.device, dtype=torch.float32) / c.head_dim)
            angle = (position[:, None] * frequency)[:, None]
            q, k = rotate(q, angle.cos(), angle.sin()), rotate(k, angle.cos(), angle.sin())
        elif c.temperature:
            q = q * (1 + c.attn_scale * torch.log1p(torch.floor((position + 1) / c.floor_scale)))[:, None, None]
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        full = self.nope or not c.chunked
        if last is not None:
            seen = position <= position[-last:, None]
            if not full:
                seen &= position // c.chunk == position[-last:, None] // c.chunk
            y = F.scaled_dot_product_attention(q[:, :, -last:], k, v, attn_mask=seen)
        else:
            y = (full_attention if full else chunked_attention)(q, k, v, c.chunk)
        return self.o_proj(y.transpose(1, 2).flatten(2))


def full_attention(q: Tensor, k: Tensor, v: Tensor, _chunk: int) -> Tensor:
    """Causal attention; all [B, H, L, K]."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def chunked_attention(q: Tensor, k: Tensor, v: Tensor, chunk: int) -> Tensor:
    """Causal attention within chunks of `chunk` tokens: whole chunks become sequences, a rest is done by itself."""
    batch, heads, length, width = q.shape
    count, whole = length // chunk, length // chunk * chunk

    def split(t: Tensor) -> Tensor:
        return t[:, :, :whole].reshape(batch, heads, count, chunk, width).transpose(1, 2).flatten(0, 1)

    parts = []
    if count:
        y = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=True)
        parts.append(y.view(batch, count, heads, chunk, width).transpose(1, 2).reshape(batch, heads, whole, width))
    if whole < length:
        parts.append(full_attention(q[:, :, whole:], k[:, :, whole:], v[:, :, whole:], chunk))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


class SharedExpert(nn.Module):
    """The feed-forward network that every token passes."""

    def __init__(self, config: Config):
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.dim, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """The routed experts' weights: gate_up_proj [E, D, 2 M], down_proj [E, M, D]."""

    def __init__(self, config: Config):
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(config.experts, config.dim, 2 * config.hidden))
        self.down_proj = nn.Parameter(torch.empty(config.experts, config.hidden, config.dim))

    def forward(self, x: Tensor, counts: list[int]) -> Tensor:
        """x [B L, D], sorted by expert, `counts` tokens for each."""
        out = []
        for expert, part in enumerate(x.split(counts)):
            gate, up = (part @ self.gate_up_proj[expert]).chunk(2, -1)
            out.append((F.silu(gate) * up) @ self.down_proj[expert])
        return torch.cat(out)


class MixtureOfExperts(nn.Module):
    """Top-1 of E experts, its input scaled by the sigmoid of the router's logit, beside the shared expert."""

    def __init__(self, config: Config):
        super().__init__()
        self.router = nn.Linear(config.dim, config.experts, bias=False)
        self.shared_expert = SharedExpert(config)
        self.experts = Experts(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the load-balance loss: Switch Transformer's (arXiv 2101.03961, eq. 4), 1 when even."""
        tokens = x.flatten(0, 1)
        logits = self.router(tokens)
        best, chosen = logits.max(-1)
        counts = torch.bincount(chosen, minlength=logits.shape[1])
        balance = logits.shape[1] * (logits.softmax(-1).mean(0) * counts / len(chosen)).sum()
        order = chosen.argsort()
        routed = self.experts((tokens * best.sigmoid()[:, None])[order], counts.tolist())
        return self.shared_expert(x) + torch.zeros_like(tokens).index_copy(0, order, routed).view_as(x), balance


class Layer(nn.Module):
    """x + attention(norm(x)), then + mixture(norm(x))."""

    def __init__(self, config: Config, layer: int):
        super().__init__()
        self.input_layernorm = RMSNorm(config.dim, config.eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.dim, config.eps)
        self.feed_forward = MixtureOfExperts(config)

    def forward(self, x: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        attended = self.self_attn(self.input_layernorm(x), last)
        x = x[:, -attended.shape[1] :] + attended
        mixed, balance = self.feed_forward(self.post_attention_layernorm(x))
        return x + mixed, balance


class Trunk(nn.Module):
    """Embedding, layers, last norm."""

    def __init__(self, config: Config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.dim)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.layers))
        self.norm = RMSNorm(config.dim, config.eps)

    def forward(self, ids: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        x, balances = self.embed_tokens(ids), []
        for layer in self.layers:
            x, balance = layer(x, last if layer is self.layers[-1] else None)
            balances.append(balance)
        return self.norm(x), torch.stack(balances).mean()


class Llama4(nn.Module):
    """The language model; `forward` gives the last hidden states, so that the head may be applied where it is needed."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config.dim, config.vocab, bias=False)

    def forward(self, ids: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        """ids [B, L] to hidden states [B, L, D] and the load-balance loss, mean over layers.

        With `last`, hidden states of that many tokens at the end, for a fraction of the price.
        """
        return self.model(ids, last)
