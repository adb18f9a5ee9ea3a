"""Where the weights begin: random, with heads that already look back and already find.

From random weights alone this model first learns to continue a number it has seen by its last digits, and after 8 M tokens still had not
found out that the key decides which number; with this beginning two answers in three start right after 0.2 M tokens. Every weight is
trained from there on.
"""

import math

import torch
from torch import nn

from model import Llama4

EMBEDDING = 0.3  # standard deviation
CONSTANT = 0.9  # channel 0 of every embedding, the same for all tokens: what a head that looks back goes by
SHARPNESS = 40.0  # of such a head: the product of its query and key
# For each layer, how far its first heads look back.
LOOK_BACK = ((1, 2, 3, 4), (1, 2, 5), (1, 3))
# For each head of the last layer, how far behind the query, and behind the key, the two tokens stand that it compares.
COMPARED = (((0, 1), (1, 2)), ((1, 2), (2, 3)), ((1, 2), (3, 4)), ((2, 3), (3, 4)))
MATCH = 12.0  # strength of that comparison
COPY = 2.0  # how loudly the last layer says what it found
HEAD = 0.5  # the head's weights over the embedding's
LOUD = 0.4  # what the first layer's heads write, over what they read
QUIET = 0.05  # what all else writes


@torch.no_grad()
def initialise(model: Llama4) -> None:
    """Sets all weights."""
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            nn.init.normal_(parameter, std=EMBEDDING)
        elif parameter.dim() >= 2:
            writes = name.endswith(("o_proj.weight", "down_proj.weight", "down_proj"))
            nn.init.normal_(parameter, std=(QUIET if writes else 1.0) * parameter.shape[1] ** -0.5)
    model.model.embed_tokens.weight[:, 0] = CONSTANT
    for layer, offsets in enumerate(LOOK_BACK):
        look_back(model, layer, offsets)
    match_pairs(model)


def look_back(model: Llama4, layer: int, offsets: tuple[int, ...]) -> None:
    """Lets heads of a RoPE layer begin as ones that look a fixed distance back.

    From the constant channel a query makes (s, 0) in the eight fastest pairs of RoPE, and a key the same, turned by `offset` positions. Their
    product is greatest where the key stands `offset` before the query.
    """
    config = model.config
    normed = CONSTANT / math.sqrt(EMBEDDING**2 + CONSTANT**2 / config.dim)  # the channel behind the layer's norm
    size = math.sqrt(SHARPNESS) / normed
    attention = model.model.layers[layer].self_attn
    pairs = torch.arange(8)
    for head, offset in enumerate(offsets):
        angle = offset * config.theta ** (-2 * pairs / config.head_dim)
        first = head * config.head_dim
        rows = slice(first, first + config.head_dim)
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[rows] *= 0.3
            projection.weight[rows, 0] = 0
        attention.q_proj.weight[first + 2 * pairs, 0] = size
        attention.k_proj.weight[first + 2 * pairs, 0] = size * angle.cos()
        attention.k_proj.weight[first + 2 * pairs + 1, 0] = size * angle.sin()


def match_pairs(model: Llama4) -> None:
    """Lets the heads of the last layer begin as induction heads: they find where the same two tokens stood earlier and say what followed.

    The first layer's heads put the tokens behind them into the residual, all through the same value matrix, each with an output matrix of its
    own, whose transpose reads it again. A head compares two of them on the query's side with two on the key's side.
    """
    config = model.config
    first, last = (model.model.layers[i].self_attn for i in (0, -1))
    heads = [slice(h * config.head_dim, (h + 1) * config.head_dim) for h in range(config.heads)]
    nn.init.orthogonal_(first.o_proj.weight, gain=LOUD)
    for rows in heads[1:]:
        first.v_proj.weight[rows] = first.v_proj.weight[heads[0]]
    readers = [first.v_proj.weight[heads[0]]] + [first.o_proj.weight[:, rows].T for rows in heads]
    readers = [r / r.norm() * math.sqrt(MATCH * config.head_dim) for r in readers]
    turn = nn.init.orthogonal_(torch.empty(config.head_dim, config.head_dim))  # keeps the second token apart from the first
    for rows, (query, key) in zip(heads, COMPARED):
        for projection, (one, two) in ((last.q_proj, query), (last.k_proj, key)):
            projection.weight[rows] = readers[one] + turn @ readers[two]
            projection.weight[rows, 0] = 0
    # What is found is said: values are written as they are read, and the head begins as the embedding.
    nn.init.orthogonal_(last.v_proj.weight)
    last.o_proj.weight.copy_(COPY * last.v_proj.weight.T)
    model.lm_head.weight.copy_(HEAD * model.model.embed_tokens.weight)
    model.lm_head.weight[:, 0] = 0
