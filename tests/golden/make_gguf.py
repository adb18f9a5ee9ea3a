"""The checkpoints as GGUF, by llama.cpp's own converter, and llama.cpp's logits to check them with.

    python make_gguf.py LLAMA_CPP    where LLAMA_CPP is a llama.cpp source tree (convert_hf_to_gguf.py, conversion/, gguf-py/);
                                     the source package of llama-cpp-python 0.3.36 holds one in vendor/llama.cpp

Committed: bf16 files. llama.cpp rounds activations to bf16 beside bf16 weights (and is then off by 2 to 15 % of the logits'
standard deviation), so it is asked with f32 weights (not committed; the values are the same). Its tokenizer hash list cannot know these tokenizers: the pre-tokenizer is named here.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

from llamacpp import Model
from make_checkpoints import IMPLIED, write_json

HERE = Path(__file__).parent


def convert(llama_cpp, folder, out, kind, pre, edits=()):
    """`edits`: keys of config.json that a GGUF file cannot carry, as it implies them."""
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    import conversion
    import gguf
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    # Gemma 2's wants SentencePiece's own file; transformers' class for Qwen adds tokens.
    TextModel._set_vocab_sentencepiece = TextModel._set_vocab_gpt2
    transformers.AutoTokenizer = transformers.PreTrainedTokenizerFast
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch) / folder.name
        shutil.copytree(folder, scratch)
        config = json.loads((folder / "config.json").read_text()) | dict(edits)
        write_json(scratch / "config.json", config)
        write_json(scratch / "tokenizer_config.json", dict(
            tokenizer_class="PreTrainedTokenizerFast", bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"))
        architecture = conversion.get_model_architecture(config, conversion.ModelType.TEXT)
        kinds = dict(f32=gguf.LlamaFileType.ALL_F32, bf16=gguf.LlamaFileType.MOSTLY_BF16)
        with torch.inference_mode():
            model = conversion.get_model_class(architecture)(scratch, kinds[kind], out, model_name=folder.name)
            model.write()


def check(gguf, reference):
    """Largest difference from the reference's logits, in their standard deviations."""
    golden = load_file(reference)
    logits, offsets = golden["logits"].numpy(), golden["offsets"].tolist()
    model = Model(gguf, n_ctx=256, kv="f32")
    worst, same = 0.0, True
    for a, b in zip(offsets, offsets[1:]):
        got = model.logits(golden["tokens"][a:b].tolist())
        worst = max(worst, np.abs(got - logits[a:b]).max() / logits.std())
        same &= bool((got.argmax(-1) == logits[a:b].argmax(-1)).all())
    print(f"{gguf.name}: llama.cpp differs from transformers by {worst:.1e} std, same argmax {same}")
    return worst if same else float("inf")


def main():
    llama_cpp = Path(sys.argv[1])
    for name, pre, implied, reference in (
        ("llama4_scout", "llama4", True, "logits_gguf.safetensors"),
        ("llama4_128e", "llama4", False, "logits.safetensors"),
        ("llama31", "llama-bpe", False, "logits.safetensors"),
    ):
        folder = HERE / name
        convert(llama_cpp, folder, folder / "model-bf16.gguf", "bf16", pre, IMPLIED if implied else {})
        with tempfile.TemporaryDirectory() as scratch:
            f32 = Path(scratch) / f"{name}-f32.gguf"
            convert(llama_cpp, folder, f32, "f32", pre, IMPLIED if implied else {})
            assert check(f32, folder / reference) < 2e-5


if __name__ == "__main__":
    main()
