"""Speed of fathom beside other engines on this machine, in alternation; a Markdown table on standard output.

    cargo build --release
    python3 reports/speed/compare.py --model SmolLM2-135M-Q4_1:512,2048,8192=model.gguf --sources DIR > table.md

DIR holds checkouts of the peers by name (`ik_llama.cpp`, `llama.cpp`), at the commits or tags named in PEERS; what is missing is
reported as not measured. Each is built natively (Release, GGML_NATIVE) under DIR/build, llama-bench alone; cmake and a C++
compiler are needed. `--wheel` measures the llama.cpp of the Python package xllamacpp through its C interface instead
(tests/golden/requirements.txt): its kernels are chosen at run time and it is no native build, so that it flatters us.

Every round measures every engine once, in an order that turns round by round: a machine that gets slower does so for all.
A figure is the median with the least and the greatest; a ratio is the median of the rounds' own ratios. Rows are printed
when a model is done. Where other programs load the machine, time on the clock says more about who yields to whom: `--cpu` counts
the processor time of one thread instead, what two more repetitions add.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Name: commit, folder of llama-bench.
PEERS = {
    "ik_llama.cpp": ("8337e4cd3861406fc04e0854b1409cd1b027fbc9", "examples/llama-bench"),
    "llama.cpp": ("b11549", "tools/llama-bench"),
}
WHEEL = "llama.cpp (wheel)"
# A project of one target: the peers' own lists build every example.
CMAKE = """cmake_minimum_required(VERSION 3.16)
project(peer C CXX)
add_subdirectory(${SOURCE} peer EXCLUDE_FROM_ALL)
add_subdirectory(${SOURCE}/${BENCH} bench)
"""


def build(source, name):
    """llama-bench of a peer, built natively."""
    out = source.parent / "build" / name
    out.mkdir(parents=True, exist_ok=True)
    (out / "CMakeLists.txt").write_text(CMAKE)
    options = ["CMAKE_BUILD_TYPE=Release", "GGML_NATIVE=ON", "BUILD_SHARED_LIBS=OFF", "GGML_IQK_FA_ALL_QUANTS=OFF",
               "CMAKE_POLICY_VERSION_MINIMUM=3.5", f"SOURCE={source}", f"BENCH={PEERS[name][1]}"]
    subprocess.run(["cmake", "-S", out, "-B", out / "b", *(f"-D{o}" for o in options)], check=True, stdout=sys.stderr)
    subprocess.run(["cmake", "--build", out / "b", "--target", "llama-bench", "-j", str(os.cpu_count())], check=True, stdout=sys.stderr)
    return next(p for p in (out / "b").rglob("llama-bench") if p.is_file())


def by_processor_time(command, tokens):
    """Tokens a second of processor time: what repetitions add, between runs of one and of three. `command` takes their number."""
    def spent(n):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command(n), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return 2 * tokens / (spent(3) - spent(1))


def fathom_cpu(binary, model, prompts, decode, precision):
    def command(prompt, decode):
        return lambda n: [binary, "bench", "--model", model, "--prompt", str(prompt), "--decode", str(decode), "--repeats", str(n),
                          "--threads", "1", "--precision", precision, "--json"]

    rates = {f"prefill {p}": by_processor_time(command(p, 0), p) for p in prompts}
    # An answer with an empty context, and one behind the prompt of one token.
    return rates | {f"decode {decode}": by_processor_time(command(1, decode), 2 * decode + 1)}


def llama_bench_cpu(binary, model, prompts, decode):
    def command(prompt, decode):
        return lambda n: [binary, "-m", model, "-p", str(prompt), "-n", str(decode), "-r", str(n), "-fa", "1", "-t", "1"]

    rates = {f"prefill {p}": by_processor_time(command(p, 0), p) for p in prompts}
    return rates | {f"decode {decode}": by_processor_time(command(0, decode), decode)}


def fathom(binary, model, prompts, decode, threads, precision="f32"):
    """Tokens a second by kind of work."""
    command = [binary, "bench", "--model", model, "--prompt", ",".join(map(str, prompts)), "--decode", str(decode),
               "--repeats", "1", "--threads", str(threads), "--precision", precision, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rates = {f"prefill {p['tokens']}": p["tokens_per_s"] for p in found["prefill"]}
    return rates | {f"decode {decode}": found["decode"][0]["tokens_per_s"]}


def llama_bench(binary, model, prompts, decode, threads):
    command = [binary, "-m", model, "-p", ",".join(map(str, prompts)), "-n", str(decode), "-r", "1", "-fa", "1",
               "-t", str(threads), "-o", "json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    kind = lambda r: f"prefill {r['n_prompt']}" if r["n_prompt"] else f"decode {r['n_gen']}"
    return {kind(r): r["avg_ts"] for r in rows}


def wheel(model, prompts, decode, threads):
    """llama.cpp by its C interface, as llama-bench drives it: batches of 512, flash attention, f16 keys and values."""
    sys.path.insert(0, str(ROOT / "tests/golden"))
    import llamacpp

    m = llamacpp.Model(model, n_ctx=64, kv="f16", threads=threads)
    ffi, lib = m.ffi, m.lib
    rates = {}

    def context(n):
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = n
        params.n_ubatch = 512
        params.flash_attn_type = 1
        params.n_threads = params.n_threads_batch = threads
        return lib.llama_init_from_model(m.model, params)

    def pass_on(ctx, tokens):
        data = ffi.new("llama_token[]", tokens)
        assert lib.llama_decode(ctx, lib.llama_batch_get_one(data, len(tokens))) == 0
        lib.llama_synchronize(ctx)

    ids = lambda n: [(i + 1) * 2654435761 % m.n_vocab for i in range(n)]
    for n in prompts:
        ctx = context(n)
        pass_on(ctx, ids(64))
        lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
        start = time.perf_counter()
        pass_on(ctx, ids(n))
        rates[f"prefill {n}"] = n / (time.perf_counter() - start)
        lib.llama_free(ctx)
    ctx = context(decode + 2)
    pass_on(ctx, ids(1))
    start = time.perf_counter()
    for token in ids(decode):
        pass_on(ctx, [token])
    rates[f"decode {decode}"] = decode / (time.perf_counter() - start)
    return rates


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def busy():
    """Seconds of all cores that were not idle, since the machine started."""
    user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--model", action="append", required=True, metavar="NAME[:LENGTHS]=FILE",
                      help="lengths of prompts of this model; without, those of --prompt")
    args.add_argument("--fathom", default=ROOT / "target/release/fathom", type=Path)
    args.add_argument("--sources", type=Path)
    args.add_argument("--only", action="append", metavar="NAME")
    args.add_argument("--built", action="append", default=[], metavar="NAME=FILE", help="a peer's llama-bench, built before")
    args.add_argument("--wheel", action="store_true")
    args.add_argument("--prompt", default="512,2048")
    args.add_argument("--decode", default=64, type=int)
    args.add_argument("--threads", default=os.cpu_count(), type=int)
    args.add_argument("--rounds", default=5, type=int)
    args.add_argument("--cpu", action="store_true", help="processor time of one thread: for a machine that others load")
    args.add_argument("--one", help=argparse.SUPPRESS)
    args = args.parse_args()
    lengths = lambda text: [int(p) for p in text.split(",")]
    if args.one:
        return print(json.dumps(wheel(args.one, lengths(args.prompt), args.decode, args.threads)))

    ours = lambda precision: lambda m, prompts: fathom(args.fathom, m, prompts, args.decode, args.threads, precision)
    if args.cpu:
        args.threads = 1
        ours = lambda precision: lambda m, prompts: fathom_cpu(args.fathom, m, prompts, args.decode, precision)
    engines, missing = {"fathom": ours("f32")} | {f"fathom, {p}": ours(p) for p in ("int16", "int8")}, []
    built = dict(b.split("=", 1) for b in args.built)
    for name in PEERS:
        source = args.sources and (args.sources / name).resolve()
        if args.only and name not in args.only:
            continue
        if name not in built and not (source and source.is_dir()):
            missing.append(name)
            continue
        binary = built.get(name) or build(source, name)
        engines[name] = (
            (lambda m, prompts, b=binary: llama_bench_cpu(b, m, prompts, args.decode)) if args.cpu else
            (lambda m, prompts, b=binary: llama_bench(b, m, prompts, args.decode, args.threads)))
    if args.wheel:
        def apart(m, prompts):
            """A process of its own, as the others have."""
            command = [sys.executable, __file__, "--one", m, "--prompt", ",".join(map(str, prompts)), "--model", "x=x",
                       "--decode", str(args.decode), "--threads", str(args.threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return json.loads(done.stdout.splitlines()[-1])

        engines[WHEEL] = apart

    before, started, own = busy(), time.time(), os.times()
    print(f"{time.strftime('%Y-%m-%d')}, {cpu_name()}, {os.cpu_count()} cores, {args.threads} threads, {args.rounds} rounds,"
          f" {'processor time' if args.cpu else 'time on the clock'}.")
    print("".join(f"{n}: commit {PEERS[n][0]}.\n" for n in engines if n in PEERS), end="")
    print("".join(f"{n}: not measured, no source was given.\n" for n in missing))
    print("| model | work | engine | tokens/s: least, median, greatest | fathom is faster by | int16 by | int8 by |", flush=True)
    print("|---|---|---|---|---|---|---|")
    for entry in args.model:
        name, path = entry.split("=", 1)
        name, _, own_lengths = name.partition(":")
        prompts = lengths(own_lengths or args.prompt)
        names, rounds = list(engines), []
        for i in range(args.rounds):
            order = names[i % len(names):] + names[:i % len(names)]
            rounds.append({e: engines[e](path, prompts) for e in order})
        for kind in rounds[0]["fathom"]:
            for engine in names:
                found = [r[engine][kind] for r in rounds]
                figures = f"{min(found):.1f}, {statistics.median(found):.1f}, {max(found):.1f}"
                ratios = [f"{statistics.median(r[e][kind] / r[engine][kind] for r in rounds):.2f} x" if e != engine else ""
                          for e in ("fathom", "fathom, int16", "fathom, int8")]
                print(f"| {name} | {kind} | {engine} | {figures} | {' | '.join(ratios)} |", flush=True)
    passed = time.time() - started
    mine = sum(os.times()[:4]) - sum(own[:4])
    others = max(0.0, busy() - before - mine) / passed
    print(f"\nOther programs kept {others:.1f} of the cores busy meanwhile.")


if __name__ == "__main__":
    main()
