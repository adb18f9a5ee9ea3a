#!/usr/bin/env python3
"""Small files by the formats' own writers, for engine/tests/gguf.rs and engine/tests/safetensors.rs.

    pip install gguf numpy safetensors torch
    python make.py .
"""

import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

OUT = Path(sys.argv[1])
# Row-major [2, 3, 4] with values 0 .. 23
BOX = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def every_value(writer: gguf.GGUFWriter) -> None:
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60_000)
    writer.add_int16("i16", -30_000)
    writer.add_uint32("u32", 4_000_000_000)
    writer.add_int32("i32", -2_000_000_000)
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 0.1)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "naïve 読む 🦀")
    writer.add_array("ints", [1, -2, 3])
    writer.add_array("floats", [0.5, -1.5])
    writer.add_array("bools", [True, False, True])
    writer.add_array("strings", ["a", "", "ü"])


def whole() -> None:
    writer = gguf.GGUFWriter(OUT / "whole.gguf", "test")
    writer.add_custom_alignment(64)
    every_value(writer)
    writer.add_tensor("box", BOX)
    writer.add_tensor("half", BOX.astype(np.float16))
    row = np.linspace(-1, 1, 512, dtype=np.float32).reshape(2, 256)
    for ty in ("BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        kind = gguf.GGMLQuantizationType[ty]
        writer.add_tensor(ty, gguf.quantize(row, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def split() -> None:
    writer = gguf.GGUFWriter(OUT / "set.gguf", "test", split_max_tensors=2)
    for i in range(5):
        writer.add_tensor(f"t{i}", BOX + i)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def safetensors() -> None:
    box = torch.from_numpy(BOX)
    save_file(
        {
            "box": box,
            "half": box.half(),
            "brain": box.bfloat16(),
            "scalar": torch.tensor(3.0),
            "nothing": torch.zeros(0, 3),
            "ids": torch.arange(5),
            "mask": torch.tensor([True, False]),
            "eight": box.to(torch.float8_e4m3fn),
        },
        OUT / "whole.safetensors",
        metadata={"format": "pt"},
    )


whole()
split()
safetensors()
