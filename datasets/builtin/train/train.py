"""Trains the built-in model.

Usage: python train.py WORK [--tokens 20.8e6] [--threads 2] [--device cpu] [--from CHECKPOINT] [--extra FILE.jsonl --extra-share 0.3]
WORK holds what tokenizer.py wrote; checkpoints go to WORK/NAME.pt. The same command started again goes on from there.
"""

import argparse
import dataclasses
import os
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F

from data import ANSWER, FIRST, Mix, Stream
from initialise import initialise
from model import Config, Llama4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--name", default="model", help="of the checkpoint")
    parser.add_argument("--tokens", type=float, default=20.8e6, help="to train on in all")
    parser.add_argument("--minutes", type=float, default=1e9, help="to train for in all, should the tokens take longer")
    parser.add_argument("--batch", type=int, default=4096, help="tokens a step")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="learning rate")
    parser.add_argument("--progress", type=float, default=0.0, help="where the curriculum begins, 0 to 1 (fine-tuning: 1)")
    parser.add_argument("--from", dest="start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--extra", type=Path, help="JSONL of further examples, see data.read_examples")
    parser.add_argument("--extra-share", type=float, default=0.3, help="share of sequences made of them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=100, help="steps")
    return parser.parse_args()


def learning_rate(step: int, progress: float, peak: float) -> float:
    """100 steps of warm-up, constant to 60 %, then linear to 3 %."""
    return peak * min(1.0, (step + 1) / 100) * (1.0 if progress < 0.6 else max(0.03, (1 - progress) / 0.4))


def save(path: Path, model: Llama4, optimizer: torch.optim.Optimizer, step: int, tokens: int, seconds: float) -> None:
    """Writes beside the old checkpoint and then replaces it, so that a killed run leaves a whole one."""
    state = {
        "config": dataclasses.asdict(model.config),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "tokens": tokens,
        "seconds": seconds,
    }
    torch.save(state, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def batches(stream: Stream, tokens: int, mix: dict) -> queue.Queue:
    """Makes batches in a thread of its own, three ahead, as `mix["now"]` says."""
    ready: queue.Queue = queue.Queue(3)

    def fill() -> None:
        while True:
            ids, weights = stream.batch(tokens, mix["now"])
            ready.put((torch.from_numpy(ids), torch.from_numpy(weights)))

    threading.Thread(target=fill, daemon=True).start()
    return ready


@dataclasses.dataclass
class Result:
    """Of one part of a batch: the gradients, and per token that had a loss its loss, whether it was right, its weight."""

    gradients: tuple[torch.Tensor, ...]
    loss: torch.Tensor
    right: torch.Tensor
    weights: torch.Tensor


def gradients(model: Llama4, ids: torch.Tensor, weights: torch.Tensor) -> Result:
    """Forward and backward over ids and weights [sequences, length + 1]."""
    hidden, balance = model(ids[:, :-1])
    targets, weights = ids[:, 1:].flatten(), weights[:, 1:].flatten()
    # The head is the dearest matrix: it sees every answer and a third of the rest.
    seen = torch.nonzero((weights >= 1) | (weights > 0) & (torch.rand_like(weights) < 1 / 3)).squeeze(1)
    logits, targets, weights = model.lm_head(hidden.flatten(0, 1)[seen]), targets[seen], weights[seen]
    loss = F.cross_entropy(logits, targets, reduction="none")
    total = (loss * weights).sum() / weights.sum() + 0.01 * balance
    grads = torch.autograd.grad(total, list(model.parameters()))
    return Result(grads, loss.detach(), logits.argmax(-1) == targets, weights)


class Tally:
    """Means between two lines of the log: for first tokens of answers, for their other tokens, for all else."""

    def __init__(self) -> None:
        self.sums = torch.zeros(3, 3, dtype=torch.float64)  # kind of token; loss, right, tokens

    def add(self, result: Result) -> None:
        kind = (result.weights < FIRST).long() + (result.weights < ANSWER).long()
        rows = torch.stack([result.loss, result.right.float(), torch.ones_like(result.loss)], 1).double()
        self.sums.index_add_(0, kind.cpu(), rows.cpu())

    def line(self) -> str:
        first, later, rest = (self.sums[:, :2] / self.sums[:, 2:].clamp(min=1)).tolist()
        return f"first tokens: {first[1]:.3f} right, loss {first[0]:.3f}; later: {later[1]:.3f}, {later[0]:.3f}; rest: {rest[0]:.3f}"


def main() -> None:
    args = arguments()
    torch.manual_seed(args.seed)
    # One thread an operation, `threads` parts of a batch at once: they wait for each other once a step, not a thousand times, which is
    # what makes training bearable on a machine that has other things to do.
    torch.set_num_threads(1)
    workers = ThreadPoolExecutor(args.threads)
    model = Llama4(Config())
    initialise(model)
    model.to(args.device)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.95))
    step, tokens, before = 0, 0, 0.0

    checkpoint = args.work / f"{args.name}.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=args.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, tokens, before = state["step"], state["tokens"], state["seconds"]
    elif args.start:
        model.load_state_dict(torch.load(args.start, map_location=args.device, weights_only=True)["model"])
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, from step {step}", flush=True)

    began, first, tally = time.time(), tokens, Tally()

    def progress() -> float:
        """0 to 1, by tokens or by the clock, whichever is further."""
        return max(tokens / args.tokens, (before + time.time() - began) / (60 * args.minutes))

    mix = {"now": Mix.at(max(args.progress, progress()))}
    stream = Stream(args.work, seed=args.seed + step, extra=args.extra, extra_share=args.extra_share)
    ready = batches(stream, args.batch, mix)
    while (now := progress()) < 1:
        mix["now"] = Mix.at(max(args.progress, now))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, now, args.rate)
        parts = [t.to(args.device).chunk(args.threads) for t in ready.get()]
        results = list(workers.map(lambda part: gradients(model, *part), zip(*parts)))
        for parameter, *grads in zip(model.parameters(), *(r.gradients for r in results)):
            parameter.grad = torch.stack(grads).mean(0)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for result in results:
            tally.add(result)
        step, tokens = step + 1, tokens + sum(ids.shape[0] * (ids.shape[1] - 1) for ids in parts[0])
        if step % 25 == 0:
            seconds = time.time() - began
            print(
                f"step {step} length {parts[0][0].shape[1] - 1} tokens {tokens / 1e6:.2f} M {before + seconds:.0f} s "
                f"{(tokens - first) / seconds:.0f} a second; {tally.line()}",
                flush=True,
            )
            tally = Tally()
        if step % args.save_every == 0 or progress() >= 1:
            save(checkpoint, model, optimizer, step, tokens, before + time.time() - began)


if __name__ == "__main__":
    main()
