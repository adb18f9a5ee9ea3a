"""llama.cpp's own server (the PyPI package xllamacpp), sound or with faults made by its own options, for `fathom audit --record`.

    python3 tests/audit/llama_server.py MODEL.gguf PORT [OPTION=VALUE ...]

Options are fields of the package's CommonParams: cache_type_k=q4_0, rope_freq_base=20000, rope_freq_scale=0.5, n_ubatch=64, chat_template=llama2; and
threads=1. Serves until it is ended.
"""

import sys
import time

import xllamacpp

TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}


def main() -> None:
    path, port, *options = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.port = int(port)
    params.n_ctx = 4096
    params.n_parallel = 1
    params.cpuparams.n_threads = 2
    for option in options:
        name, value = option.split("=")
        if name == "threads":
            params.cpuparams.n_threads = int(value)
        elif name.startswith("cache_type"):
            setattr(params, name, TYPES[value])
        elif isinstance(getattr(params, name), str):
            setattr(params, name, value)
        else:
            setattr(params, name, type(getattr(params, name))(float(value)))
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
