"""What the model is trained on: text with statements strewn in, and questions about any earlier statement.

A `Stream` makes training sequences, `needle_item` and `state_item` make evaluation items. Nothing is stored: the seed decides.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import words
from words import WORDINGS, WORDS

BOS, EOS, PAD = 0, 1, 2

# Weights of the loss by the kind of a token. The first token of an answer is the one that only the key can tell (a later digit may also be
# found by the digits before it), so it weighs most.
FIRST, ANSWER, LISTED, TEXT, FORM, GIVEN = 8.0, 2.0, 1.0, 0.3, 0.1, 0.0

# What stands between key and value in a bare pair; a question's may differ from the statement's.
BETWEEN = [":", " is:", " is", " was", "? Answer:", " mentioned in the provided text is", ". It is", ". Its value:",
           "? The value given in the text is", ", as was said, is", ". Then the answer was"]

# Share of the filler texts.
FILLER = {"novel": 0.25, "speech": 0.4, "prose": 0.35}


@dataclass
class Mix:
    """The curriculum at one moment of the training."""

    length: int = 1024
    brief: float = 0.0  # share of sequences that are bare pairs, "key: value."
    dense: float = 0.1  # share of the others with next to no filler
    others: float = 0.0  # share of the tasks beside single needles, from 0 (none) to 1 (all that is planned)

    @staticmethod
    def at(progress: float) -> "Mix":
        """Short and dense first, bare pairs before whole sentences.

        A model that starts with sparse statements learns nothing in 5 M tokens; one that starts with whole sentences soon continues numbers
        it has seen, but takes long to find out that the key decides which.
        """
        length = 512 if progress < 0.35 else 768 if progress < 0.6 else 1024
        return Mix(
            length,
            brief=min(0.6, max(0.15, 0.8 - 1.5 * progress)),
            dense=min(1.0, max(0.5, 1.25 - 2.5 * progress)),
            others=min(0.4, max(0.0, 2 * (progress - 0.5))),
        )


class Pieces:
    """Encodes short strings, remembering them. A wording is cut where its slots are, which the pre-tokenizer does too."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.known = tokenizer, {}

    def __call__(self, text: str) -> list[int]:
        ids = self.known.get(text)
        if ids is None:
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            if len(self.known) < 500_000:
                self.known[text] = ids
        return ids

    def fill(self, wording: str, slots: dict[str, str], start: str = " ") -> list[int]:
        """The ids of `start` + the wording, its slots filled."""
        ids, text = [], start
        for part in wording.split("{"):
            name, brace, rest = part.partition("}")
            if brace and name == "kind":  # part of a word: "numbers"
                text += slots[name] + rest
            elif brace:
                if text.endswith(" "):
                    ids += self(text[:-1]) if text[:-1] else []
                    ids += self(" " + slots[name])
                else:
                    ids += (self(text) if text else []) + self(slots[name])
                text = rest
            else:
                text += part
        return ids + (self(text) if text else [])


class Source:
    """Tokenizer, filler and words on one side of the split."""

    def __init__(self, folder: Path, seed: int, held_out: bool):
        self.rng = random.Random(seed)
        self.pieces = Pieces(Tokenizer.from_file(str(folder / "tokenizer.json")))
        part = "validation" if held_out else "train"
        texts = np.load(folder / "text.npz")
        self.texts = {kind: texts[f"{kind}_{part}"].astype(np.int64) for kind in FILLER}
        self.keys, self.names = words.keys(held_out), words.names(held_out)

    def filler(self, count: int, kind: str | None = None) -> list[int]:
        """`count` tokens from a random place of one text."""
        kind = kind or self.rng.choices(list(FILLER), FILLER.values())[0]
        text = self.texts[kind]
        out: list[int] = []
        while len(out) < count:  # a text shorter than what is asked for begins again
            start = self.rng.randrange(len(text) - 1)
            out += text[start : start + count - len(out)].tolist()
        return out

    def value(self, kind: str) -> str:
        """Seven digits or two words."""
        return f"{self.rng.randrange(10**7):07}" if kind == "number" else self.rng.choice(self.keys)

    def statement(self, kind: str, key: str, value: str, start: str = " ") -> list[int]:
        """The needle."""
        return self.pieces.fill(WORDINGS["statement"], {"kind": kind, "key": key, "value": value}, start)


class Stream:
    """Endless training sequences: ids and the loss weight of each id as a target."""

    def __init__(self, folder: Path, seed: int, extra: Path | None = None, extra_share: float = 0.0):
        self.source = Source(folder, seed, held_out=False)
        self.extra = read_examples(extra, self.source.pieces.tokenizer) if extra else []
        self.extra_share = extra_share if extra else 0.0

    def batch(self, tokens: int, mix: Mix) -> tuple[np.ndarray, np.ndarray]:
        """Ids and weights [sequences, length + 1]; about `tokens` tokens."""
        rows = [self.sequence(mix) for _ in range(max(1, tokens // mix.length))]
        return np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.float32)

    def sequence(self, mix: Mix) -> tuple[list[int], list[float]]:
        """One sequence of `mix.length` + 1 tokens."""
        size = mix.length + 1
        if self.source.rng.random() < self.extra_share:
            ids, weights = self.packed_examples(size)
        else:
            ids, weights = Page(self.source, mix).write(size)
        padding = size - len(ids)
        return (ids + [PAD] * padding)[:size], (weights + [GIVEN] * padding)[:size]

    def packed_examples(self, size: int) -> tuple[list[int], list[float]]:
        """As many of the extra examples as fit; one that is too long loses its beginning."""
        ids, weights = [], []
        while len(ids) < size:
            more, their = self.source.rng.choice(self.extra)
            if ids and len(ids) + len(more) > size:
                break
            ids, weights = ids + more[-size:], weights + their[-size:]
        return ids, weights


class Page:
    """One sequence while it is written."""

    def __init__(self, source: Source, mix: Mix):
        self.source, self.rng, self.mix = source, source.rng, mix
        self.ids, self.weights = [BOS], [GIVEN]
        self.needles: list[tuple[str, str, str]] = []  # kind, key, value
        self.groups: dict[tuple[str, str], list[str]] = {}  # kind, key: several values
        self.states: dict[tuple[int, str], str] = {}  # which kind of state, name: last value
        dense = self.rng.random() < mix.dense
        self.gap = self.rng.choice([1, 2, 4] if dense else [8, 16, 32, 64, 96])  # mean tokens of filler
        # Some pages hold many statements and few questions: distractors.
        crowded = self.rng.random() < 0.25 * mix.others
        self.asking = 0.2 if crowded else 0.55
        # Some pages tell everything in their first part and ask in the second, so that most answers stand in another chunk.
        self.asking_from = self.rng.choice([0.0, 0.0, 0.5, 0.5, 0.6])
        self.filler_kind = self.rng.choices([*FILLER, None], [*FILLER.values(), 0.5])[0]
        self.break_share = self.rng.choice([0.0, 0.0, 0.2, 1.0]) if mix.others else 0.0

    def put(self, ids: list[int], weight: float) -> None:
        self.ids += ids
        self.weights += [weight] * len(ids)

    def start(self) -> str:
        """What stands before a statement or a question."""
        return "\n" if self.rng.random() < self.break_share else " "

    def write(self, size: int) -> tuple[list[int], list[float]]:
        """Statements, filler and questions until `size` tokens are there."""
        rng, others = self.rng, self.mix.others
        if rng.random() < self.mix.brief:
            return self.write_pairs(size)
        if rng.random() < 0.15 * others:
            kind = rng.choice(["number", "number", "word"])
            self.put(self.source.pieces.fill(rng.choice(WORDINGS["preambles"]), {"kind": kind}, ""), FORM)
        while len(self.ids) < size:
            filler = int(rng.expovariate(1 / self.gap))
            if filler:
                self.put(self.source.filler(min(filler, size), self.filler_kind), TEXT)
            asking = self.is_asking(size, self.asking)
            task = rng.random() / others if others else 1.0
            if task < 0.12:
                self.ask_state() if asking else self.tell_state()
            elif task < 0.17:
                self.ask_group() if asking else self.tell_group()
            elif task < 0.20 and asking:
                self.ask_several()
            else:
                self.ask() if asking else self.tell()
        return self.ids, self.weights

    def choose(self, known: list) -> tuple:
        """One to ask for; it goes to the end of `known`, and the first ones are asked most, so that few are asked twice.

        An answer that was given before is the easier one to copy.
        """
        index = int(self.rng.random() ** 2 * len(known))
        known.append(known.pop(index))
        return known[-1]

    def is_asking(self, size: int, share: float) -> bool:
        """Whether a question comes next."""
        if self.asking_from == 0:
            return self.rng.random() < share
        return len(self.ids) > self.asking_from * size and self.rng.random() < 0.9

    def write_pairs(self, size: int) -> tuple[list[int], list[float]]:
        """Bare pairs, and questions for the value of an earlier key."""
        pieces, known = self.source.pieces, []
        gap = self.rng.choice([0.01, 0.01, 1, 4])
        told = self.rng.choice(BETWEEN[:4])
        asked = self.rng.choice([told, None, None])
        while len(self.ids) < size:
            filler = int(self.rng.expovariate(1 / gap))
            if filler:
                self.put(self.source.filler(filler, self.filler_kind), TEXT)
            if known and self.is_asking(size, 0.5):
                key, value = self.choose(known)
                self.put(pieces(" " + key) + pieces(asked if asked else self.rng.choice(BETWEEN)), FORM)
                self.put_answer(value)
            else:
                key = self.rng.choice(self.source.keys)
                value = self.source.value("number" if self.rng.random() < 0.7 else "word")
                known.append((key, value))
                self.put(pieces(" " + key) + pieces(told), FORM)
                self.put(pieces(" " + value), GIVEN)
            self.put(pieces("."), FORM)
        return self.ids, self.weights

    def tell(self) -> None:
        kind = "number" if self.rng.random() < 0.8 else "word"
        self.state_needle(kind, self.rng.choice(self.source.keys))

    def state_needle(self, kind: str, key: str, group: bool = False) -> None:
        value = self.source.value(kind)
        ids = self.source.statement(kind, key, value, self.start())
        tail = len(self.source.pieces(" " + value)) + 1
        self.put(ids[:-tail], FORM)
        self.put(ids[-tail:-1], GIVEN)
        self.put(ids[-1:], FORM)
        if group:
            self.groups.setdefault((kind, key), []).append(value)
        else:
            self.needles.append((kind, key, value))

    def put_answer(self, text: str) -> None:
        """The tokens of one answer; the lone space before digits is no part of it."""
        ids = self.source.pieces(" " + text)
        if text[0].isdigit():
            self.put(ids[:1], LISTED)
            ids = ids[1:]
        self.put(ids[:1], FIRST)
        self.put(ids[1:], ANSWER)

    def end_answer(self) -> None:
        """The full stop, and the end of the text, where a generation shall stop."""
        self.put(self.source.pieces("."), FORM)
        self.put([EOS], LISTED)

    def ask(self) -> None:
        if not self.needles:
            return self.tell()
        kind, key, value = self.choose(self.needles)
        trained = WORDINGS["question_trained"]
        wording = trained[0] if self.rng.random() < 0.3 else self.rng.choice(trained)
        self.put(self.source.pieces.fill(wording, {"kind": kind, "key": key}, self.start()), FORM)
        self.put_answer(value)
        self.end_answer()

    def tell_group(self) -> None:
        if self.groups and self.rng.random() < 0.6:
            kind, key = self.rng.choice(list(self.groups))
            if len(self.groups[kind, key]) >= 4:
                return
        else:
            kind, key = ("number" if self.rng.random() < 0.75 else "word"), self.rng.choice(self.source.keys)
        self.state_needle(kind, key, group=True)

    def ask_group(self) -> None:
        """All values of one key, in the order of the text."""
        if not self.groups:
            return self.tell_group()
        (kind, key), values = self.rng.choice(list(self.groups.items()))
        self.put(self.source.pieces.fill(WORDINGS["question_all"], {"kind": kind, "keys": key}, self.start()), FORM)
        self.put(self.source.pieces(" " + listed(values)), LISTED)
        self.end_answer()

    def ask_several(self) -> None:
        """Two to four keys at once, answered as "key: value, key: value"."""
        kind = self.rng.choice(["number", "number", "number", "word"])
        known = [n for n in self.needles if n[0] == kind]
        if len(known) < 2:
            return self.tell()
        asked = self.rng.sample(known, min(len(known), self.rng.randint(2, 4)))
        keys = ", ".join(n[1] for n in asked[:-1]) + ", and " + asked[-1][1]
        pieces = self.source.pieces
        self.put(pieces.fill(WORDINGS["question_all"], {"kind": kind, "keys": keys}, self.start()), FORM)
        for i, (_, key, value) in enumerate(asked):
            self.put(pieces(f" {key}") + pieces(":"), LISTED)
            self.put_answer(value)
            self.put(pieces("," if i + 1 < len(asked) else "."), FORM)
        self.put([EOS], LISTED)

    def tell_state(self) -> None:
        which = self.rng.randrange(len(WORDINGS["states"]))
        form = WORDINGS["states"][which]
        changed = [name for kind, name in self.states if kind == which]
        name = self.rng.choice(changed) if changed and self.rng.random() < 0.35 else new_name(self.source)
        value = self.rng.choice(WORDS[form["values"]])
        self.states[which, name] = value
        self.put(
            self.source.pieces.fill(self.rng.choice(form["told"]), {"name": name, "value": value}, self.start()), FORM
        )

    def ask_state(self) -> None:
        if not self.states:
            return self.tell_state()
        (which, name), value = self.rng.choice(list(self.states.items()))
        wording = self.rng.choice(WORDINGS["states"][which]["asked"])
        self.put(self.source.pieces.fill(wording, {"name": name}, self.start()), FORM)
        self.put_answer(value)
        self.end_answer()


def new_name(source: Source) -> str:
    """A full name, or a given name only."""
    name = source.rng.choice(source.names)
    return name if source.rng.random() < 0.6 else name.split()[0]


def listed(values: list[str]) -> str:
    """a, b, c, and d"""
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + ", and " + values[-1]


def read_examples(path: Path, tokenizer: Tokenizer) -> list[tuple[list[int], list[float]]]:
    """Extra training data, one JSON object a line: {"text": .., "answers": [[first, end], ..]}, spans in characters.

    {"text": .., "answer": ..} is the same with one answer, behind the text.
    """
    examples = []
    for line in path.read_text(encoding="utf-8").splitlines():
        example = json.loads(line)
        text, spans = example["text"], example.get("answers", [])
        if "answer" in example:
            spans = [*spans, [len(text), len(text) + len(example["answer"])]]
            text += example["answer"]
        code = tokenizer.encode(text)
        weights = [GIVEN if token == BOS else TEXT for token in code.ids]
        for first, end in spans:
            inside = [i for i, (a, b) in enumerate(code.offsets) if a < end and b > first]
            for i in inside:
                weights[i] = FIRST if i == inside[0] else ANSWER
        examples.append((code.ids + [EOS], weights + [LISTED]))
    return examples


@dataclass
class Item:
    """An evaluation item: the prompt's ids and the ids of the right answer."""

    prompt: list[int]
    answer: list[int]


def needle_item(
    source: Source,
    length: int,
    depth: float,
    needles: int = 1,
    kind: str = "number",
    wording: str = WORDINGS["question_trained"][0],
    filler: str = "speech",
) -> Item:
    """`needles` statements about different keys; the one at `depth` (0 to 1) is asked for.

    `length` is in tokens and counts the answer: question and answer then stand in one chunk. An answer that began with a chunk could not be
    found by any model whose only layer without chunks is the last: at the first tokens of a chunk nothing is known of the question.
    """
    rng = source.rng
    keys = rng.sample(source.keys, needles)
    values = [source.value(kind) for _ in keys]
    statements = [source.statement(kind, k, v) for k, v in zip(keys, values)]
    question = source.pieces.fill(wording, {"kind": kind, "key": keys[0]})
    answer = source.pieces(" " + values[0])
    hay = source.filler(length - 1 - len(question) - len(answer) - sum(map(len, statements)), filler)
    places = [int(depth * len(hay))] + [rng.randint(0, len(hay)) for _ in statements[1:]]
    prompt, last = [BOS], 0
    for place, statement in sorted(zip(places, statements)):
        prompt += hay[last:place] + statement
        last = place
    return Item(prompt + hay[last:] + question, answer)


def state_item(source: Source, length: int, states: int, apart: int | None, held_out_wording: bool) -> Item:
    """`states` people; the one asked for changed once, `apart` tokens before the last time (None: never changed)."""
    rng = source.rng
    form = rng.choice(WORDINGS["states"])
    people = rng.sample(source.names, states)
    values = [rng.choice(WORDS[form["values"]]) for _ in people]
    wording = (form["asked_heldout"] if held_out_wording else form["asked"])[0]

    def told(name: str, value: str) -> list[int]:
        return source.pieces.fill(rng.choice(form["told"]), {"name": name, "value": value})

    statements = [told(n, v) for n, v in zip(people, values)]
    question = source.pieces.fill(wording, {"name": people[0]})
    if apart is not None:
        old = rng.choice([v for v in WORDS[form["values"]] if v != values[0]])
        statements[0] = told(people[0], old) + source.filler(apart, "speech") + statements[0]
    answer = source.pieces(" " + values[0])
    hay = source.filler(length - 1 - len(question) - len(answer) - sum(map(len, statements)), "speech")
    prompt, last = [BOS], 0
    for place, statement in sorted((rng.randint(0, len(hay)), s) for s in statements):
        prompt += hay[last:place] + statement
        last = place
    return Item(prompt + hay[last:] + question, answer)
