#!/usr/bin/env python3
"""The grids of ggml's IQ types, packed: engine/src/format/unpack/grids.bin.

    git clone https://github.com/ggml-org/ggml && git -C ggml checkout d99724f2b141fed9e1a9f402213506c081433465
    python make_grids.py ggml/src/ggml-common.h ../../../engine/src/format/unpack/grids.bin

The grids are data of the format, copyright The ggml authors, MIT licence. An entry is one u16: eight codes of 2 bits, or
four of 3 bits, the first value in the lowest bits; the values behind the codes stand in grids.rs.
sha256 of the result: 49c0f7a11a52cb893f9e735ebcdb44020343f8b320af5e6c23a8ea8d723f1e5d
"""

import hashlib
import re
import sys
from pathlib import Path

MAGNITUDES = [8, 25, 43]
# name: values an entry, values behind the codes, in the order of grids.rs
GRIDS = {
    "iq2xxs_grid": (8, MAGNITUDES),
    "iq2xs_grid": (8, MAGNITUDES),
    "iq2s_grid": (8, MAGNITUDES),
    "iq1s_grid": (8, [255, 0, 1]),
    "iq3xxs_grid": (4, [4, 12, 20, 28, 36, 44, 52, 62]),
    "iq3s_grid": (4, [1, 3, 5, 7, 9, 11, 13, 15]),
}


def main() -> None:
    source = Path(sys.argv[1]).read_text()
    out = bytearray()
    for name, (width, values) in GRIDS.items():
        body = re.search(rf"GGML_TABLE_BEGIN\(\w+, {name}, \w+\)(.*?)GGML_TABLE_END", source, re.S)[1]
        bits = 16 // width if width == 8 else 3
        for word in re.findall(r"0x[0-9a-f]+", body):
            stored = int(word, 16).to_bytes(width, "little")
            out += sum(values.index(v) << (bits * i) for i, v in enumerate(stored)).to_bytes(2, "little")
    assert len(out) == 2 * (256 + 512 + 1024 + 2048 + 256 + 512)
    Path(sys.argv[2]).write_bytes(out)
    print(hashlib.sha256(out).hexdigest())


main()
