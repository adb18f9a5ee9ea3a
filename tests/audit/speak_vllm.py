"""Answers the probes of a reference pack with vLLM's own server, sound in several ways or with a fault made by its options.

    python3 tests/audit/speak_vllm.py PACK MODEL_DIR OUT_DIR FATHOM [--tuned DIR] [NAME ...]

FATHOM is the program, which asks the server (`fathom audit --record`). Faults are fields of the configuration (--hf-overrides), the type of the
cache, another checkpoint, and what the server does to Llama 4 unasked: where no more than 32 768 tokens are allowed it leaves out the
attention temperature (Llama4ForCausalLM.__init__ in vllm/model_executor/models/llama4.py). Needs vllm for CPUs.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from served import record

PORT = 9478
TEMPERATURE = ["--override-generation-config", json.dumps({"attn_temperature_tuning": True})]


def fields(**changed) -> list[str]:
    return ["--hf-overrides", json.dumps(changed)]


def rope(**changed) -> list[str]:
    return fields(rope_parameters={"rope_type": "default", "rope_theta": 1000.0} | changed)


# Name: truth, precision, options of the server.
SPEAKERS = {
    "f32": ("sound", "float32", TEMPERATURE),
    "bf16": ("sound", "bfloat16", TEMPERATURE),
    "f16": ("sound", "float16", TEMPERATURE),
    "steps-of-256": ("sound", "bfloat16", [*TEMPERATURE, "--max-num-batched-tokens", "256", "--max-num-seqs", "8"]),
    "no-prefix-cache": ("sound", "bfloat16", [*TEMPERATURE, "--no-enable-prefix-caching"]),
    "as-it-starts": ("no-temperature", "bfloat16", []),
    "no-chunk": ("no-chunk", "bfloat16", [*TEMPERATURE, *fields(attention_chunk_size=0)]),
    "half-chunk": ("chunk-size=0.5", "bfloat16", [*TEMPERATURE, *fields(attention_chunk_size=224)]),
    "double-chunk": ("chunk-size=2", "bfloat16", [*TEMPERATURE, *fields(attention_chunk_size=896)]),
    "theta-2": ("rope-base=2", "bfloat16", [*TEMPERATURE, *rope(rope_theta=2000.0)]),
    "theta-0.2": ("rope-base=0.2", "bfloat16", [*TEMPERATURE, *rope(rope_theta=200.0)]),
    "linear-2": ("rope-scale=0.5", "bfloat16", [*TEMPERATURE, *rope(rope_type="linear", factor=2.0)]),
    "cache-fp8": ("kv-cache=fp8", "bfloat16", [*TEMPERATURE, "--kv-cache-dtype", "fp8"]),
    "tuned": ("model=tuned", "bfloat16", TEMPERATURE),
    "eps": ("other", "bfloat16", [*TEMPERATURE, *fields(rms_norm_eps=0.5)]),
    "qk-norm": ("other", "bfloat16", [*TEMPERATURE, *fields(use_qk_norm=True)]),
    "temperature-tripled": ("other", "bfloat16", [*TEMPERATURE, *fields(attn_scale=0.9)]),
    "rope-everywhere": ("other", "bfloat16", [*TEMPERATURE, *fields(no_rope_layers=[1, 1, 1, 1])]),
}


def speak(args: argparse.Namespace, name: str) -> None:
    truth, precision, options = SPEAKERS[name]
    folder = args.tuned if name == "tuned" else args.model
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", str(PORT)]
    command += ["--enforce-eager", "--dtype", precision, "--max-logprobs", "64", "--max-model-len", "4096", "--block-size", "32", *options]
    offline = {"VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    record(command, PORT, args.fathom, args.pack, args.out / f"vllm-{name}.jsonl", f"vllm {name}", truth, **offline)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("fathom")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--tuned", type=Path)
    args = parser.parse_intermixed_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or SPEAKERS:
        if name != "tuned" or args.tuned:
            try:
                speak(args, name)
            except subprocess.CalledProcessError as e:
                print(f"{name}: {e}", flush=True)


if __name__ == "__main__":
    main()
