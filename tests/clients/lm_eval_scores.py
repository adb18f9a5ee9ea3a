"""lm-evaluation-harness (`local-completions`) against `fathom serve`: its scores, and our own arithmetic beside them.

    python lm_eval_scores.py FATHOM     FATHOM: the binary
"""

import importlib.metadata
import json
import os
import random
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import lm_eval
from transformers import AutoTokenizer

from server import generate, logprobs, serving

BUILTIN = Path(__file__).parents[2] / "datasets/builtin"
ITEMS = 12
OPTIONS = 4
ANSWER_TOKENS = 16


def items():
    """Several numbers are told and one is asked for; the options are the numbers."""
    rng = random.Random(20250405)
    names = [line for line in (BUILTIN / "heldout_keys.txt").read_text().splitlines() if line]
    for _ in range(ITEMS):
        keys = rng.sample(names, OPTIONS)
        values = [str(rng.randrange(10**6, 10**7)) for _ in keys]
        told = " ".join(f"One of the special magic numbers for {k} is: {v}." for k, v in zip(keys, values))
        label = rng.randrange(OPTIONS)
        asked = f"The special magic number for {keys[label]} mentioned in the provided text is"
        yield {"text": f"{told}\n{asked}", "options": values, "label": label, "answer": values[label]}


def tasks(data):
    common = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test",
              "doc_to_text": "{{text}}"}
    choice = {"task": "choice", "output_type": "multiple_choice", "doc_to_choice": "{{options}}", "doc_to_target": "label",
              "metric_list": [{"metric": "acc"}], **common}
    words = {"task": "words", "output_type": "generate_until", "doc_to_target": " {{answer}}.",
             "generation_kwargs": {"until": ["."], "max_gen_toks": ANSWER_TOKENS, "temperature": 0.0},
             "metric_list": [{"metric": "exact_match", "ignore_punctuation": True}], **common}
    return choice, words


def evaluate(base, task, concurrent, tokenized):
    args = {"model": "builtin", "base_url": f"{base}/completions", "tokenizer": str(BUILTIN), "tokenizer_backend": "huggingface",
            "tokenized_requests": tokenized, "num_concurrent": concurrent, "max_length": 4096, "batch_size": 1}
    done = lm_eval.simple_evaluate(model="local-completions", model_args=args, tasks=[task], log_samples=True, bootstrap_iters=0)
    name = task["task"]
    return done["results"][name], sorted(done["samples"][name], key=lambda s: s["doc_id"])


def main():
    fathom = sys.argv[1]
    docs = list(items())
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = folder
        data = Path(folder, "items.jsonl")
        data.write_text("".join(json.dumps(doc) + "\n" for doc in docs))
        choice, words = tasks(data)
        with serving(fathom) as base:
            runs = {n: (evaluate(base, choice, n, True), evaluate(base, words, n, False)) for n in (1, 4)}

    # Our own: sums over recorded logits, and greedy text up to the first full stop.
    pairs = [(encode(doc["text"]), encode(f"{doc['text']} {option}")) for doc in docs for option in doc["options"]]
    rows = logprobs(fathom, [whole for _, whole in pairs])
    sums = [sum(row[i - 1, whole[i]] for i in range(len(context), len(whole))) for (context, whole), row in zip(pairs, rows)]
    sums = [sums[i:i + OPTIONS] for i in range(0, len(sums), OPTIONS)]
    right = sum(max(range(OPTIONS), key=own.__getitem__) == doc["label"] for own, doc in zip(sums, docs)) / ITEMS
    texts = [generate(fathom, doc["text"], ANSWER_TOKENS)["text"].split(".")[0] for doc in docs]
    exact = sum(text.strip() == doc["answer"] for text, doc in zip(texts, docs)) / ITEMS

    for concurrent, ((scores, samples), (said_scores, said)) in runs.items():
        difference = max(abs(float(response[0][0]) - value) for sample, own in zip(samples, sums)
                         for response, value in zip(sample["resps"], own))
        assert difference < 1e-4, difference
        assert abs(scores["acc,none"] - right) < 1e-12, (scores, right)
        assert [sample["resps"][0][0] for sample in said] == texts, (said, texts)
        assert abs(said_scores["exact_match,none"] - exact) < 1e-12, (said_scores, exact)
        print(f"{concurrent} at a time: choice acc {scores['acc,none']:.4f}, ours {right:.4f}; {len(pairs)} log-likelihoods, "
              f"largest difference {difference:.1e}; words exact match {said_scores['exact_match,none']:.4f}, ours {exact:.4f}, "
              f"{len(texts)} texts equal")
    print(f"lm-eval {importlib.metadata.version('lm-eval')}: the same scores")


if __name__ == "__main__":
    main()
