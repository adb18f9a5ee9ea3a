"""llama.cpp by its C interface: token ids, logits, greedy text.

The library is xllamacpp's (llama.cpp b11549, one file that also exports the C functions and runs on an older glibc); the
declarations of the C interface are llama-cpp-py-sync's (b11548).
"""

import os
from pathlib import Path

import numpy as np
import xllamacpp
from llama_cpp_py_sync._cffi_bindings import get_ffi

VERSION = "llama.cpp b11549 (xllamacpp 2026.10.11549)"
KV = dict(f32=0, f16=1)


class Model:
    """One model and, unless `vocab_only`, one context."""

    def __init__(self, path, n_ctx=512, kv="f32", vocab_only=False, threads=1, n_batch=None):
        self.ffi = get_ffi()
        self.lib = self.ffi.dlopen(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
        self.lib.llama_backend_init()
        self.quiet = self.ffi.callback("ggml_log_callback", lambda *_: None)
        self.lib.llama_log_set(self.quiet, self.ffi.NULL)
        params = self.lib.llama_model_default_params()
        params.n_gpu_layers = 0
        params.vocab_only = vocab_only
        self.model = self.lib.llama_model_load_from_file(os.fsencode(path), params)
        assert self.model != self.ffi.NULL, path
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.n_vocab = self.lib.llama_vocab_n_tokens(self.vocab)
        if vocab_only:
            return
        context = self.lib.llama_context_default_params()
        context.n_ctx = n_ctx
        context.n_batch = context.n_ubatch = n_batch or n_ctx
        self.n_batch = context.n_batch
        context.type_k = context.type_v = KV[kv]
        context.flash_attn_type = 0
        context.n_threads = context.n_threads_batch = threads
        self.context = self.lib.llama_init_from_model(self.model, context)
        assert self.context != self.ffi.NULL

    def tokenize(self, text):
        """Ids of a text: no BOS, and text that looks like a special token is text."""
        data = text.encode()
        room = len(data) + 8
        out = self.ffi.new("llama_token[]", room)
        n = self.lib.llama_tokenize(self.vocab, data, len(data), out, room, False, False)
        assert n >= 0, n
        return list(self.ffi.unpack(out, n)) if n else []

    def text(self, tokens):
        """Bytes of the tokens' text, special tokens left out."""
        out = b""
        buffer = self.ffi.new("char[]", 512)
        for t in tokens:
            n = self.lib.llama_token_to_piece(self.vocab, t, buffer, 512, 0, False)
            assert n >= 0, n
            out += self.ffi.buffer(buffer, n)[:]
        return out

    def is_end(self, token):
        return bool(self.lib.llama_vocab_is_eog(self.vocab, token))

    def decode(self, tokens, start):
        """[len(tokens), n_vocab] logits of tokens appended at position `start`."""
        n = len(tokens)
        batch = self.lib.llama_batch_init(n, 0, 1)
        batch.n_tokens = n
        for i, t in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = t, start + i, 1, 0, 1
        assert self.lib.llama_decode(self.context, batch) == 0
        rows = [np.frombuffer(self.ffi.buffer(self.lib.llama_get_logits_ith(self.context, i), 4 * self.n_vocab), np.float32).copy()
                for i in range(n)]
        self.lib.llama_batch_free(batch)
        return np.stack(rows)

    def logits_at(self, tokens, wanted):
        """[len(wanted), n_vocab] logits after the tokens of a fresh sequence that stand at `wanted`, ascending."""
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        rows = []
        for start in range(0, len(tokens), self.n_batch):
            part = tokens[start: start + self.n_batch]
            batch = self.lib.llama_batch_init(len(part), 0, 1)
            batch.n_tokens = len(part)
            for i, t in enumerate(part):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = t, start + i, 1, 0
                batch.logits[i] = start + i in wanted
            assert self.lib.llama_decode(self.context, batch) == 0
            for i in range(len(part)):
                if start + i in wanted:
                    row = self.ffi.buffer(self.lib.llama_get_logits_ith(self.context, i), 4 * self.n_vocab)
                    rows.append(np.frombuffer(row, np.float32).copy())
            self.lib.llama_batch_free(batch)
        return np.stack(rows)

    def logits(self, tokens):
        """[n, n_vocab] logits of a fresh sequence."""
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        return self.decode(tokens, 0)

    def greedy(self, tokens, n):
        """The next `n` tokens, each the most probable; stops before an end token. Also their log probabilities."""
        return self.greedy_after(self.logits(tokens)[-1], len(tokens), n)

    def greedy_after(self, row, n_tokens, n):
        """The same, after `n_tokens` tokens of which `row` holds the last one's logits."""
        out, logp, margins = [], [], []
        for i in range(n):
            best = int(row.argmax())
            if self.is_end(best):
                break
            x = row.astype(np.float64)
            out.append(best)
            logp.append(float(x[best] - x.max() - np.log(np.exp(x - x.max()).sum())))
            margins.append(float(x[best] - np.partition(x, -2)[-2]))
            row = self.decode([best], n_tokens + i)[-1]
        return out, logp, margins
