#!/usr/bin/env python3
"""Stored blocks and their values by ggml's reference, for engine/tests/types.rs.

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36
    tar xzf llama_cpp_python-0.3.36.tar.gz
    python make.py llama_cpp_python-0.3.36/vendor/llama.cpp/ggml ggml.safetensors

Compiles ggml-quants.c (cc, without fused operations) and calls `dequantize_row_*`. Needs numpy and safetensors.
A new type is one line in TYPES. A third argument asks for that many random blocks a type (default 16).
"""

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# name: values in a block, bytes in a block, where f16 scales lie, the C function
TYPES = {
    "Q8_0": (32, 34, [0], "dequantize_row_q8_0"),
    "Q4_0": (32, 18, [0], "dequantize_row_q4_0"),
    "Q4_1": (32, 20, [0, 2], "dequantize_row_q4_1"),
    "Q5_0": (32, 22, [0], "dequantize_row_q5_0"),
    "Q5_1": (32, 24, [0, 2], "dequantize_row_q5_1"),
    "Q4_K": (256, 144, [0, 2], "dequantize_row_q4_K"),
    "Q5_K": (256, 176, [0, 2], "dequantize_row_q5_K"),
    "Q6_K": (256, 210, [208], "dequantize_row_q6_K"),
}

# +-0, smallest subnormals, largest subnormal, 1, -1, largest, infinity, a NaN, and an ordinary scale
SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00, 0x2A5F]


# What ggml-quants.c wants of the rest of ggml, and `dequantize_row_*` never calls.
STUBS = "void ggml_abort(void) {} void ggml_row_size(void) {} void ggml_type_name(void) {} void ggml_type_size(void) {}"


def compile_reference(ggml: Path, folder: Path) -> ctypes.CDLL:
    library, stubs = folder / "quants.so", folder / "stubs.c"
    stubs.write_text(STUBS)
    subprocess.run(
        ["cc", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-w", f"-I{ggml}/include", f"-I{ggml}/src",
         "-o", library, ggml / "src/ggml-quants.c", stubs, "-lm"],
        check=True,
    )
    return ctypes.CDLL(str(library))


def blocks(rng: np.random.Generator, n_random: int, n_bytes: int, scales: list[int]) -> np.ndarray:
    """All zeros, all ones, every special scale at every place, then random bytes throughout."""
    n_special = len(SCALES) * len(scales)
    out = rng.integers(0, 256, (2 + n_special + n_random, n_bytes), dtype=np.uint8)
    out[0], out[1] = 0, 255
    for i in range(n_special):
        for place in scales:
            out[2 + i, place : place + 2] = [0x5F, 0x2A]
        place = scales[i // len(SCALES)]
        out[2 + i, place : place + 2] = np.array([SCALES[i % len(SCALES)]], "<u2").view(np.uint8)
    return out


def main() -> None:
    ggml, target = Path(sys.argv[1]), Path(sys.argv[2])
    n_random = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    rng = np.random.default_rng(20)
    tensors = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = compile_reference(ggml, Path(folder))
        for name, (block, n_bytes, scales, function) in TYPES.items():
            stored = blocks(rng, n_random, n_bytes, scales)
            values = np.empty((len(stored), block), np.float32)
            unpack = getattr(reference, function)
            unpack.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
            unpack.restype = None
            unpack(stored.ctypes.data, values.ctypes.data, values.size)
            tensors[f"{name}.blocks"], tensors[f"{name}.values"] = stored, values
    # Every bit pattern of the two halves would be 512 KiB: every 37th.
    bits = np.arange(0, 0x10000, 37, dtype=np.uint16)
    tensors["F16.blocks"], tensors["F16.values"] = bits.view(np.uint8), bits.view(np.float16).astype(np.float32)
    tensors["BF16.blocks"] = bits.view(np.uint8)
    tensors["BF16.values"] = (bits.astype(np.uint32) << 16).view(np.float32)
    bits = rng.integers(0, 2**32, 256, dtype=np.uint32)
    tensors["F32.blocks"], tensors["F32.values"] = bits.view(np.uint8), bits.view(np.float32)
    save_file(tensors, target)


main()
