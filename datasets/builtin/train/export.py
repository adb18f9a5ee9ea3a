"""Writes a checkpoint as a Hugging Face folder in bfloat16 and checks it against transformers in float32.

Usage: python export.py WORK CHECKPOINT OUT
OUT gets model.safetensors, config.json, generation_config.json, tokenizer.json, tokenizer_config.json. Ends with an error when transformers'
logits are not those of model.py.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Llama4ForCausalLM, Llama4TextConfig

from data import BOS, EOS, PAD, Source, needle_item
from model import Config, Llama4
from tokenizer import BOS as BOS_TEXT
from tokenizer import EOS as EOS_TEXT
from tokenizer import PAD as PAD_TEXT

TOLERANCE = 2e-4  # of the logits' standard deviation


def transformers_config(config: Config) -> Llama4TextConfig:
    """The same shape in transformers' words."""
    return Llama4TextConfig(
        architectures=["Llama4ForCausalLM"],
        vocab_size=config.vocab,
        hidden_size=config.dim,
        intermediate_size=config.hidden,
        intermediate_size_mlp=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.head_dim,
        max_position_embeddings=32768,
        rms_norm_eps=config.eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.theta},
        num_local_experts=config.experts,
        num_experts_per_tok=1,
        interleave_moe_layer_step=1,
        use_qk_norm=False,
        no_rope_layers=[0 if config.is_nope(i) else 1 for i in range(config.layers)],
        no_rope_layer_interval=config.nope_every,
        attention_chunk_size=config.chunk,
        attn_temperature_tuning=True,
        floor_scale=config.floor_scale,
        attn_scale=config.attn_scale,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )


def export(checkpoint: Path, tokenizer: Path, out: Path) -> None:
    """Writes the folder."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = transformers_config(Config(**state["config"]))
    model = Llama4ForCausalLM(config)
    model.load_state_dict(state["model"], strict=True)
    model.generation_config.do_sample = False
    model.to(torch.bfloat16).save_pretrained(out)
    shutil.copy(tokenizer, out / "tokenizer.json")
    tokenizer_config = {
        "add_bos_token": True,
        "bos_token": BOS_TEXT,
        "clean_up_tokenization_spaces": False,
        "eos_token": EOS_TEXT,
        "model_max_length": config.max_position_embeddings,
        "pad_token": PAD_TEXT,
        "tokenizer_class": "PreTrainedTokenizerFast",  # transformers 4 knows this name too
    }
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n", encoding="utf-8")


def largest_difference(work: Path, checkpoint: Path, out: Path, length: int) -> float:
    """Between transformers' logits and ours, same bfloat16 weights, float32 arithmetic; in standard deviations of the logits."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    ours = Llama4(Config(**state["config"])).eval()
    ours.load_state_dict({name: weight.bfloat16().float() for name, weight in state["model"].items()})
    theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.tensor([needle_item(Source(work, 7, held_out=True), length, 0.2, needles=8).prompt])
    with torch.no_grad():
        a, b = ours.lm_head(ours(ids)[0]), theirs(ids).logits
    assert (a.argmax(-1) == b.argmax(-1)).float().mean() > 0.999, "arg-max differs"
    return ((a - b).abs().max() / b.std()).item()


def main(work: Path, checkpoint: Path, out: Path) -> None:
    export(checkpoint, work / "tokenizer.json", out)
    text = "One of the special magic numbers for amber anchor is: 1234567.\nCafé, naïve — 東京 🙂"
    tokenizer = AutoTokenizer.from_pretrained(out)
    ids = tokenizer(text).input_ids
    assert ids[0] == BOS and tokenizer.decode(ids[1:]) == text, "the tokenizer does not give the text back"
    for length in (100, 1000, 3000):
        difference = largest_difference(work, checkpoint, out, length)
        print(f"{length} tokens: logits differ from transformers' by at most {difference:.1e} of their standard deviation")
        if difference > TOLERANCE:
            sys.exit("too much")
    for file in sorted(out.iterdir()):
        print(f"{file.stat().st_size:>9} {file.name}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
