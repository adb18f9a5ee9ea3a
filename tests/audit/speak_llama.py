"""Answers the probes of a reference pack with llama.cpp's own server, sound in several ways or with a fault made by its options and files.

    python3 tests/audit/speak_llama.py PACK MODEL.gguf OUT_DIR FATHOM [NAME ...]

FATHOM is the program, which asks the server (`fathom audit --record`) and keeps the 100 most probable tokens of each place of an answer, as
this server tells nothing of prompts. Faults: types of the cache, RoPE's base and scale by the server's options; another window by
the file's metadata; quantised weights by the gguf package; of a pack of conversations, chat templates that the server has under other names, and
the one that it chooses without Jinja. Needs xllamacpp, gguf, safetensors.
"""

import json
import sys
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize
from safetensors import safe_open
from served import record

PORT = 9377
SERVER = Path(__file__).parent / "llama_server.py"


def rope_base(reader: GGUFReader) -> float:
    return next(float(field.contents()) for key, field in reader.fields.items() if key.endswith("rope.freq_base"))


def with_window(model: Path, out: Path, window: int) -> Path:
    """The same file with another sliding window."""
    out.write_bytes(model.read_bytes())
    reader = GGUFReader(out, "r+")
    for key, field in reader.fields.items():
        if key.endswith("attention.sliding_window"):
            field.parts[field.data[0]][0] = window
    return out


def requantized(model: Path, out: Path, kind: GGMLQuantizationType) -> Path:
    """The same file with its quantised matrices unpacked and packed as another type."""
    reader = GGUFReader(model)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        plain = tensor.tensor_type in (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16)
        data = tensor.data if plain else quantize(dequantize(tensor.data, tensor.tensor_type), kind)
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type if plain else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def speakers(model: Path, out: Path) -> dict:
    """Name: truth, file, options of the server."""
    reader = GGUFReader(model)
    base = rope_base(reader)
    windowed = any(key.endswith("attention.sliding_window") for key in reader.fields)
    both = lambda kind: [f"cache_type_k={kind}", f"cache_type_v={kind}"]  # noqa: E731
    all_ = {
        "plain": ("sound", model, []),
        "batches-of-64": ("sound", model, ["n_ubatch=64", "n_batch=64"]),
        "batches-of-7": ("sound", model, ["n_ubatch=7", "n_batch=7"]),
        "cache-bf16": ("sound", model, both("bf16")),
        "one-thread": ("sound", model, ["threads=1"]),
        "cache-q8": ("kv-cache=q8_0", model, both("q8_0")),
        "cache-q5": ("kv-cache=q5_1", model, both("q5_1")),
        "cache-q4": ("kv-cache=q4_0", model, both("q4_0")),
        "base-half": ("rope-base=0.5", model, [f"rope_freq_base={base / 2}"]),
        "base-fifth": ("rope-base=0.2", model, [f"rope_freq_base={base / 5}"]),
        "base-double": ("rope-base=2", model, [f"rope_freq_base={base * 2}"]),
        "scale-half": ("rope-scale=0.5", model, ["rope_freq_scale=0.5"]),
        # Half of what was read is dropped when an answer reaches the end of this context; nothing of the catalogue is that.
        "context-shift": ("other", model, ["n_ctx=512", "ctx_shift=1"]),
        "scale-quarter": ("rope-scale=0.25", model, ["rope_freq_scale=0.25"]),
    }
    for kind in (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q5_0, GGMLQuantizationType.Q8_0):
        name = f"weights-{kind.name.lower()}"
        all_[name] = (name.replace("-", "="), requantized(model, out / f"{name}.gguf", kind), [])
    if windowed:
        all_["no-window"] = ("no-window", with_window(model, out / "no-window.gguf", 1 << 20), [])
        all_["half-window"] = ("chunk-size=0.5", with_window(model, out / "half-window.gguf", 256), [])
    return all_


def conversations(model: Path) -> dict:
    """As `speakers`, of packs whose probes are put as messages."""
    template = lambda name, *options: (f"template={name}", model, list(options))  # noqa: E731
    return {
        "plain": ("sound", model, []),
        "batches-of-64": ("sound", model, ["n_ubatch=64", "n_batch=64"]),
        "chatml": template("chatml", "chat_template=chatml"),
        "no-jinja": template("chatml", "use_jinja=0"),
        "llama2": template("llama2", "use_jinja=0", "chat_template=llama2"),
        "llama3": template("llama3", "use_jinja=0", "chat_template=llama3"),
        "vicuna": ("other", model, ["use_jinja=0", "chat_template=vicuna"]),
        "gemma": ("other", model, ["use_jinja=0", "chat_template=gemma"]),
    }


def speak(pack: str, name: str, said: tuple, out: Path, fathom: str) -> None:
    truth, model, options = said
    command = [sys.executable, str(SERVER), str(model), str(PORT), *options]
    record(command, PORT, fathom, pack, out / f"llama-{name}.jsonl", f"llama.cpp {name}", truth)


def main() -> None:
    pack, model, out, fathom, *names = sys.argv[1:]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with safe_open(pack, "np") as file:
        shape = json.loads(file.metadata()["fathom_audit_pack"])["table"]["shape"]
    all_ = conversations(Path(model)) if shape == "chat" else speakers(Path(model), folder)
    for name in names or all_:
        speak(pack, name, all_[name], folder, fathom)


if __name__ == "__main__":
    main()
