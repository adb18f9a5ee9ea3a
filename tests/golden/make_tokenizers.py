"""Small tokenizers of the shapes that the families ship, and the ids that Hugging Face's tokenizers gives the nasty text.

    python make_tokenizers.py       writes tokenizers/NAME.json (tokenizer.json of that shape) and tokenizers/ids.json

The shapes are those of the real files (normaliser, pre-tokenizer, model's switches, decoder, post-processor, added tokens
that are special and such that are not); the merges are learned from a few lines.
"""

import json
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
OUT = HERE / "tokenizers"
TEXT = ("The rain in the hall then thinned; they'll say I'D've gone, 1987 times out of 12345.\n\n  Another thing that the thane and the "
        "heron\u0301 were hearing there: caf\u00e9, na\u00efve, \u6f22\u5b57\u3068\u304b\u306a, \u0441\u043b\u043e\u0432\u043e.\r\n\tif (x == 10) { return HttpServer; }\n") * 4
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
          r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level(pre, special, normalizer=None, plain=(), **switches):
    tok = Tokenizer(models.BPE(**switches))
    tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    tok.add_special_tokens(special)
    tok.add_tokens(list(plain))
    tok.post_processor = processors.TemplateProcessing(single=f"{special[0]} $A", special_tokens=[(special[0], tok.token_to_id(special[0]))])
    return tok


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentencepiece(normalizer, pre, decoder, special, plain=()):
    """BPE over characters whose rest falls back to bytes, as converted from SentencePiece's files."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tok.normalizer = normalizer
    tok.pre_tokenizer = pre or pre_tokenizers.Split("\u2581", "merged_with_next")
    tok.decoder = decoder
    tok.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=160, show_progress=False, special_tokens=["<unk>", *special]))
    parts = json.loads(tok.to_str())
    vocab = parts["model"]["vocab"]
    vocab |= {f"<0x{b:02X}>": len(vocab) + b for b in range(256)}
    parts["model"] |= dict(byte_fallback=True, vocab=vocab)
    if pre is None:
        parts["pre_tokenizer"] = None
    tok = Tokenizer.from_str(json.dumps(parts))
    tok.add_tokens(list(plain))
    return tok


def shapes():
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    space = normalizers.Replace(" ", "\u2581")
    back = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    yield "cohere", byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte]),
                               ["<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"], normalizers.NFC())
    yield "qwen2", byte_level(split(QWEN2), ["<|endoftext|>", "<|im_end|>"], normalizers.NFC(), ["<think>", "<tool_call>"])
    yield "tekken", byte_level(split(TEKKEN), ["<s>", "</s>"], ignore_merges=True)
    yield "mistral", sentencepiece(normalizers.Sequence([normalizers.Prepend("\u2581"), space]), None,
                                   decoders.Sequence([*back, decoders.Strip(" ", 1, 0)]), ["<s>", "</s>"])
    yield "gemma", sentencepiece(space, pre_tokenizers.Split(" ", "merged_with_previous"), decoders.Sequence(back),
                                 ["<bos>", "<eos>"], ["\n\n", "\n\n\n", "\u2581\u2581", "<start_of_turn>"])


def main():
    OUT.mkdir(exist_ok=True)
    lines = (HERE / "nasty.txt").read_bytes().decode().split("\n")
    out = {}
    for name, tok in shapes():
        (OUT / f"{name}.json").write_text(json.dumps(json.loads(tok.to_str()), ensure_ascii=False) + "\n")
        # text that looks like a special token is text
        tok.encode_special_tokens = True
        out[name] = [tok.encode(line, add_special_tokens=False).ids for line in lines]
        print(name, tok.get_vocab_size(), sum(map(len, out[name])))
    text = json.dumps(out, indent=1)
    (OUT / "ids.json").write_text(re.sub(r"\[[\s\d,]+\]", lambda m: re.sub(r"\s+", "", m[0]), text) + "\n")


if __name__ == "__main__":
    main()
