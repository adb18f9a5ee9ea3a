#!/usr/bin/env python3
"""Stored blocks and their values by the reference C code, for engine/tests/types.rs.

    git clone https://github.com/ggml-org/ggml && git -C ggml checkout d99724f2b141fed9e1a9f402213506c081433465
    git clone https://github.com/ikawrakow/ik_llama.cpp && git -C ik_llama.cpp checkout 8337e4cd3861406fc04e0854b1409cd1b027fbc9
    python make.py ggml ik_llama.cpp/ggml .

Compiles ggml-quants.c and iqk_quantize.cpp (MIT; cc and c++, without fused operations) and calls `dequantize_row_*`. Needs numpy
and safetensors. ggml is llama.cpp's. Writes `hashes.json`: how the blocks are made, and the SHA-256 of their values; and
`vectors.safetensors`: of each type a group of rows. A fourth argument asks for that many groups there.
A new type is one line in GGML or IK.

A group is what is unpacked together: one row, or the rows that lie together. Bytes are those of splitmix64 from SEED + the type's
number in hashes.json, each word little endian, a group's last word cut; group 0 is zeros, group 1 all ones. In the others a second
stream, from its bitwise complement, takes one number a scale: below half of its range modulo 64 the scale becomes that one of
HALVES or FLOATS, modulo their number. NaN counts as 0x7fc00000.
"""

import ctypes
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# ggml: name: values in a block, bytes in a block, halves that are scales, the C function
GGML = {
    "Q8_0": (32, 34, [0], "q8_0"),
    "Q4_0": (32, 18, [0], "q4_0"),
    "Q4_1": (32, 20, [0, 2], "q4_1"),
    "Q5_0": (32, 22, [0], "q5_0"),
    "Q5_1": (32, 24, [0, 2], "q5_1"),
    "Q2_K": (256, 84, [80, 82], "q2_K"),
    "Q3_K": (256, 110, [108], "q3_K"),
    "Q4_K": (256, 144, [0, 2], "q4_K"),
    "Q5_K": (256, 176, [0, 2], "q5_K"),
    "Q6_K": (256, 210, [208], "q6_K"),
    "Q8_K": (256, 292, [], "q8_K"),
    "IQ1_S": (256, 50, [0], "iq1_s"),
    "IQ1_M": (256, 56, [], "iq1_m"),
    "IQ2_XXS": (256, 66, [0], "iq2_xxs"),
    "IQ2_XS": (256, 74, [0], "iq2_xs"),
    "IQ2_S": (256, 82, [0], "iq2_s"),
    "IQ3_XXS": (256, 98, [0], "iq3_xxs"),
    "IQ3_S": (256, 110, [0], "iq3_s"),
    "IQ4_NL": (32, 18, [0], "iq4_nl"),
    "IQ4_XS": (256, 136, [0], "iq4_xs"),
    "TQ1_0": (256, 54, [52], "tq1_0"),
    "TQ2_0": (256, 66, [64], "tq2_0"),
    "MXFP4": (32, 17, [], "mxfp4"),
    "NVFP4": (64, 36, [], "nvfp4"),
    "Q1_0": (128, 18, [0], "q1_0"),
    "Q2_0": (64, 18, [0], "q2_0"),
}
# ik_llama.cpp: name: values in a block, bytes in a block (a row's share), bytes of a row before its blocks, rows that lie
# together; scales: halves in a block of all rows, or whatever the row begins with; the C function.
IK = {
    "Q6_0": (32, 26, 0, 1, 1, "q6_0"),
    "IQ2_K": (256, 76, 0, 1, 1, "iq2_k"),
    "IQ3_K": (256, 110, 0, 1, 1, "iq3_k"),
    "IQ4_K": (256, 144, 0, 1, 1, "iq4_k"),
    "IQ5_K": (256, 176, 0, 1, 1, "iq5_k"),
    "IQ6_K": (256, 212, 0, 1, 1, "iq6_k"),
    "IQ2_KS": (256, 70, 2, 1, 0, "iq2_ks"),
    "IQ3_KS": (256, 102, 2, 1, 0, "iq3_ks"),
    "IQ4_KS": (256, 136, 4, 1, 0, "iq4_ks"),
    "IQ5_KS": (256, 168, 4, 1, 0, "iq5_ks"),
    "IQ4_KSS": (256, 128, 4, 1, 0, "iq4_kss"),
    "IQ2_KL": (256, 86, 2, 1, 0, "iq2_kl"),
    "IQ1_KT": (256, 56, 4, 1, 0, "iq1_kt"),
    "IQ2_KT": (256, 68, 4, 1, 0, "iq2_kt"),
    "IQ3_KT": (256, 100, 4, 1, 0, "iq3_kt"),
    "IQ4_KT": (256, 128, 4, 1, 0, "iq4_kt"),
    "Q8_KV": (32, 32, 8, 1, 0, "q8_KV"),
    "Q4_0_R8": (32, 18, 0, 8, 8, "q4_0_r8"),
    "Q5_0_R4": (32, 22, 0, 4, 4, "q5_0_r4"),
    "Q8_0_R8": (32, 34, 0, 8, 8, "q8_0_r8"),
    "Q6_0_R4": (32, 26, 0, 4, 4, "q6_0_r4"),
    "Q2_K_R4": (256, 84, 0, 4, 8, "q2_k_r4"),
    "Q3_K_R4": (256, 110, 0, 4, 4, "q3_k_r4"),
    "Q4_K_R4": (256, 144, 0, 4, 8, "q4_k_r4"),
    "Q5_K_R4": (256, 176, 0, 4, 8, "q5_k_r4"),
    "Q6_K_R4": (256, 210, 0, 4, 4, "q6_k_r4"),
    "Q8_K_R8": (256, 258, 0, 8, 8, "q8_k_r8"),
    "Q8_K_R16": (256, 258, 0, 16, 16, "q8_k_r16"),
    "Q8_KV_R8": (32, 32, 4, 8, 0, "q8_KV_r8"),
    "IQ4_NL_R4": (32, 18, 0, 4, 4, "iq4_nl_r4"),
    "IQ4_XS_R8": (256, 136, 0, 8, 8, "iq4_xs_r8"),
    "IQ4_KS_R4": (256, 136, 4, 4, 0, "iq4_ks_r4"),
    "IQ5_KS_R4": (256, 168, 4, 4, 0, "iq5_ks_r4"),
    "IQ2_K_R4": (256, 76, 0, 4, 4, "iq2_k_r4"),
    "IQ3_K_R4": (256, 110, 0, 4, 4, "iq3_k_r4"),
    "IQ4_K_R4": (256, 144, 0, 4, 4, "iq4_k_r4"),
    "IQ5_K_R4": (256, 176, 0, 4, 4, "iq5_k_r4"),
    "IQ2_XXS_R4": (256, 66, 0, 4, 4, "iq2_xxs_r4"),
    "IQ2_XS_R4": (256, 74, 0, 4, 4, "iq2_xs_r4"),
    "IQ2_S_R4": (256, 82, 0, 4, 4, "iq2_s_r4"),
    "IQ3_XXS_R4": (256, 98, 0, 4, 4, "iq3_xxs_r4"),
    "IQ3_S_R4": (256, 110, 0, 4, 4, "iq3_s_r4"),
    "IQ1_S_R4": (32, 6, 2, 4, 0, "iq1_s_r4"),
    "IQ1_M_R4": (32, 7, 2, 4, 0, "iq1_m_r4"),
}
# Floats that are scales, in a block.
FLOAT_SCALES = {"Q8_K": [0]}

SEED = 20261125
GROUPS = 300
# +-0, smallest subnormals, largest subnormal, 1, -1, largest, infinity, a NaN, an ordinary scale
HALVES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00, 0x2A5F]
FLOATS = [0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007FFFFF, 0x3F800000, 0xBF800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000,
          0x3C8B4396, 0xBB1A36E3]

# The C++ wants the instruction set that ik_llama.cpp is built for; fused operations stay off.
IK_SOURCES = [("c++ -std=c++17 -mavx2 -mfma -mf16c", "iqk/iqk_quantize.cpp"), ("cc -mavx2 -mfma -mf16c", "ggml-quants.c")]

# What the files want of the rest of ggml, and `dequantize_row_*` never calls.
STUBS = "void ggml_abort(void) {} void ggml_row_size(void) {} void ggml_type_name(void) {} void ggml_type_size(void) {}"
# What it fills when it starts: every half as a float.
STUBS += "float ggml_table_f32_f16[65536];"
EXPORTED = "{ global: *dequantize_row_*; ggml_table_f32_f16; local: *; };"


def compile_reference(compiler: str, source: Path, includes: list[Path], folder: Path) -> ctypes.CDLL:
    """Only what the exported functions reach is linked."""
    (folder / "stubs.c").write_text(STUBS)
    (folder / "exported").write_text(EXPORTED)
    library = folder / f"{source.stem}-{source.parent.parent.parent.name}.so"
    flags = "-O2 -ffp-contract=off -fPIC -w -ffunction-sections -fdata-sections".split()
    parts = []
    for compiler, part in ((compiler, source), ("cc", folder / "stubs.c")):
        parts.append(folder / f"{part.stem}.o")
        subprocess.run([*compiler.split(), *flags, *(f"-I{i}" for i in includes), "-c", part, "-o", parts[-1]], check=True)
    subprocess.run(
        ["c++", "-shared", "-Wl,--gc-sections", f"-Wl,--version-script={folder / 'exported'}", "-o", library, *parts, "-lm"], check=True
    )
    library = ctypes.CDLL(str(library))
    table = (ctypes.c_float * 65536).in_dll(library, "ggml_table_f32_f16")
    np.frombuffer(table, np.float32)[:] = np.arange(65536, dtype=np.uint16).view(np.float16)
    return library


def splitmix(seed: int, n: int) -> np.ndarray:
    z = np.uint64(seed % 2**64) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def groups(seed: int, n: int, size: int, halves: list[int], floats: list[int]) -> np.ndarray:
    """`n` groups of `size` bytes with scales at these places."""
    words = -(-size // 8)
    out = np.ascontiguousarray(splitmix(seed, n * words).astype("<u8").view(np.uint8).reshape(n, words * 8)[:, :size])
    places = [(at, 2, HALVES) for at in halves] + [(at, 4, FLOATS) for at in floats]
    picks = splitmix(~seed, n * len(places)).reshape(n, len(places))
    for group, picks in zip(out, picks):
        for (at, width, values), pick in zip(places, picks):
            if int(pick) % 64 < 32:
                value = values[int(pick) // 64 % len(values)]
                group[at : at + width] = np.frombuffer(value.to_bytes(width, "little"), np.uint8)
    out[0], out[1] = 0, 255
    return out


def main() -> None:
    ggml, ik, target = (Path(a) for a in sys.argv[1:4])
    n_vectors = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    hashes, vectors = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        mainline = compile_reference("cc", ggml / "src/ggml-quants.c", [ggml / "include", ggml / "src"], folder)
        types = {}
        for name, (block, size, halves, function) in GGML.items():
            types[name] = (mainline, f"dequantize_row_{function}", block, size, halves, FLOAT_SCALES.get(name, []), 0, [], [], 1)
        includes = [ik / "include", ik / "src", ik / "src/iqk"]
        theirs = [compile_reference(c, ik / "src" / s, includes, folder) for c, s in IK_SOURCES]
        for name, (block, size, meta, rows, n_halves, function) in IK.items():
            function = f"dequantize_row_{function}"
            library = next(part for part in theirs if hasattr(part, function))
            begins = [row * meta for row in range(rows)] if meta else []
            meta_halves, meta_floats = (begins, []) if meta == 2 else ([], begins)
            halves = [2 * i for i in range(n_halves)]
            types[name] = (library, function, block, size, halves, [], meta, meta_halves, meta_floats, rows)
        for number, (name, entry) in enumerate(types.items()):
            library, function, block, size, halves, floats, meta, meta_halves, meta_floats, rows = entry
            unpack = getattr(library, function)
            unpack.argtypes, unpack.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None

            def values(stored: np.ndarray, cols: int) -> np.ndarray:
                out = np.empty((len(stored), rows, cols), np.float32)
                for group, y in zip(stored, out):
                    unpack(group.ctypes.data, y.ctypes.data, y.size)
                return out

            def make(n: int, blocks: int) -> np.ndarray:
                start, each = rows * meta, rows * size
                at = [start + b * each for b in range(blocks)]
                return groups(
                    SEED + number, n, start + blocks * each,
                    meta_halves + [a + h for a in at for h in halves],
                    meta_floats + [a + f for a in at for f in floats],
                )

            blocks = max(512 // block, 2)
            y = values(make(GROUPS, blocks), blocks * block).view(np.uint32).ravel()
            y[np.isnan(y.view(np.float32))] = 0x7FC00000
            hashes[name] = {
                "number": number, "blocks": blocks, "halves": halves, "floats": floats,
                "meta_halves": meta_halves, "meta_floats": meta_floats,
                "sha256": hashlib.sha256(y.astype("<u4").tobytes()).hexdigest(),
            }
            # Group 2 on: the first two are zeros and ones.
            stored = make(2 + n_vectors, 1)[2:].copy()
            vectors[f"{name}.blocks"], vectors[f"{name}.values"] = stored, values(stored, block).reshape(-1, block)
    bits = np.arange(0, 0x10000, 37, dtype=np.uint16)
    vectors["F16.blocks"], vectors["F16.values"] = bits.view(np.uint8), bits.view(np.float16).astype(np.float32)
    vectors["BF16.blocks"], vectors["BF16.values"] = bits.view(np.uint8), (bits.astype(np.uint32) << 16).view(np.float32)
    bits = splitmix(SEED, 128).view(np.uint32)
    vectors["F32.blocks"], vectors["F32.values"] = bits.view(np.uint8), bits.view(np.float32)
    save_file(vectors, target / "vectors.safetensors")
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in hashes.items())
    head = json.dumps({"seed": SEED, "groups": GROUPS, "halves": HALVES, "floats": FLOATS})[1:-1]
    (target / "hashes.json").write_text(f"{{{head},\n  \"types\": {{\n{lines}\n  }}\n}}\n")


main()
