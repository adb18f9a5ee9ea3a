"""Byte-level BPE of 2 048 entries, every digit a token, a document begun by `<|begin_of_text|>`.

Usage: python tokenizer.py TEXTS OUT     (TEXTS: folder with the unpacked text packages; OUT: work folder)
Writes OUT/tokenizer.json and OUT/text.npz, the filler texts as tokens.
"""

import json
import random
import re
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from prose import prose
from words import WORDINGS, WORDS

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
VOCABULARY = 2048
VALIDATION_ADDRESSES = 24  # the last ones, in the order of their file names, are never trained on
VALIDATION_CHAPTERS = 12


def read_texts(folder: Path) -> dict[str, list[str]]:
    """The chapters and the addresses, white space collapsed to single spaces, in a fixed order."""
    chapters = sorted((folder / "moby-dick/package/data").glob("chapter_*.json"))
    addresses = sorted((folder / "sotu/package/data").glob("*.txt"))
    if not chapters or not addresses:
        sys.exit(f"{folder}: expected moby-dick/package and sotu/package, the unpacked text packages")

    def collapse(text: str) -> str:
        return re.sub(r"\s+", " ", text)

    return {
        "novel": [collapse(json.loads(path.read_text(encoding="utf-8"))["text"]) for path in chapters],
        "speech": [collapse(path.read_text(encoding="utf-8", errors="replace")) for path in addresses],
    }


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """Trains on the filler texts and, heavily weighted, on the words of the tasks: a short key is an easy key."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    key_words = " ".join(WORDS["adjectives"] + WORDS["nouns"])
    other_words = " ".join(sum((WORDS[k] for k in ("given_names", "family_names", "places", "jobs", "things")), []))
    wordings = [WORDINGS["statement"], WORDINGS["question_all"], *WORDINGS["question_trained"]]
    lines = "\n".join(wordings).replace("{kind}", "number") + "\n" + "\n".join(wordings).replace("{kind}", "word")
    lines = re.sub(r"\{\w+\}", "", lines)  # as they stand behind a line break ..
    corpus = texts + [" " + key_words] * 700 + [" " + other_words] * 150
    corpus += [lines, " " + lines.replace("\n", " ")] * 300  # .. and within a line
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[BOS, EOS, PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def main(texts_folder: Path, out: Path) -> None:
    """Trains the tokenizer and stores every filler text as tokens, training and validation apart."""
    out.mkdir(parents=True, exist_ok=True)
    texts = read_texts(texts_folder)
    texts["prose"] = [prose(random.Random(seed), 100_000) for seed in range(22)]
    held = {"novel": VALIDATION_CHAPTERS, "speech": VALIDATION_ADDRESSES, "prose": 2}
    training = [text for kind, group in texts.items() for text in group[: -held[kind]]]
    tokenizer = train_tokenizer(training)
    tokenizer.save(str(out / "tokenizer.json"))

    arrays = {}
    for kind, group in texts.items():
        ids = [np.array(e.ids, dtype=np.int16) for e in tokenizer.encode_batch(group, add_special_tokens=False)]
        arrays[f"{kind}_train"] = np.concatenate(ids[: -held[kind]])
        arrays[f"{kind}_validation"] = np.concatenate(ids[-held[kind] :])
        print(kind, f"{sum(map(len, group)) / sum(map(len, ids)):.2f} characters a token",
              {name: len(a) for name, a in arrays.items() if name.startswith(kind)})
    np.savez(out / "text.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
