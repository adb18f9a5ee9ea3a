//! Faults that real deployments shipped, as edits of a spec: the table is the whole implementation.

use crate::spec::{
    Activation, ChoiceBias, Ffn, LayerSpec, Mask, ModelSpec, Moe, Pairing, QkNormOrder, Residual,
    Rope, ScoreOn, Scoring,
};

/// A fault: a name, what it does, where it was shipped, and the edit.
#[derive(Debug)]
pub struct Fault {
    /// Name on the command line.
    pub name: &'static str,
    /// What is wrong, in a line.
    pub summary: &'static str,
    /// Where it reached users.
    pub source: &'static str,
    edit: Edit,
}

/// What a fault changes.
#[derive(Debug)]
enum Edit {
    /// Each layer by itself.
    Layers(fn(&mut LayerSpec)),
    /// The model: something outside of the layers, or layers by what others have.
    Model(fn(&mut ModelSpec)),
}

/// The catalogue.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "no-chunk",
        summary: "chunked attention missing: full attention in its place",
        source: "ik_llama.cpp #335, SGLang #6162, transformers #37351, TensorRT-LLM before 0.21",
        edit: Edit::Layers(|l| {
            if let Mask::Chunk(_) = l.mask {
                l.mask = Mask::Full;
            }
        }),
    },
    Fault {
        name: "window-for-chunk",
        summary: "a sliding window of the chunk's size in place of chunks",
        source: "a plausible misreading of the paper",
        edit: Edit::Layers(|l| {
            if let Mask::Chunk(n) = l.mask {
                l.mask = Mask::Window(n);
            }
        }),
    },
    Fault {
        name: "no-window",
        summary: "sliding window missing: full attention in its place",
        source: "vLLM #11358, SGLang #4823",
        edit: Edit::Layers(|l| {
            if let Mask::Window(_) = l.mask {
                l.mask = Mask::Full;
            }
        }),
    },
    Fault {
        name: "window-plus-one",
        summary: "sliding window one token too wide",
        source: "transformers #39408, Megatron-Bridge #2656",
        edit: Edit::Layers(|l| {
            if let Mask::Window(n) = &mut l.mask {
                *n += 1;
            }
        }),
    },
    Fault {
        name: "window-everywhere",
        summary: "sliding window on the full layers too",
        source: "vLLM #11358, #11583, mlx-vlm #669",
        edit: Edit::Model(|m| {
            let window = |l: &&LayerSpec| matches!(l.mask, Mask::Window(_));
            if let Some(mask) = m.layers.iter().find(window).map(|l| l.mask) {
                m.layers.iter_mut().for_each(|l| l.mask = mask);
            }
        }),
    },
    Fault {
        name: "no-temperature",
        summary: "attention temperature (of Llama 4's layers without positions, of all of Ministral 3's) missing",
        source: "vLLM #16216, #16417, #16439; vLLM 0.32.0 as it starts, up to 32k of context",
        edit: Edit::Layers(|l| l.attention.temperature = None),
    },
    Fault {
        name: "no-qk-norm",
        summary: "norm on query and key heads missing",
        source: "vLLM #16300, #16311",
        edit: Edit::Layers(|l| l.attention.qk_norm = None),
    },
    Fault {
        name: "qk-norm-before-rope",
        summary: "norm on query and key heads before the rotary embedding in place of after",
        source: "transformers #37418",
        edit: Edit::Layers(|l| {
            if let Some(norm) = &mut l.attention.qk_norm {
                norm.order = QkNormOrder::BeforeRope;
            }
        }),
    },
    Fault {
        name: "qk-norm-eps",
        summary: "norm on query and key heads with eps 1e-6 in place of the configured one",
        source: "transformers #37418",
        edit: Edit::Layers(|l| {
            if let Some(norm) = &mut l.attention.qk_norm {
                norm.eps = 1e-6;
            }
        }),
    },
    Fault {
        name: "router-on-output",
        summary: "router score on the expert's output in place of its input",
        source: "SGLang #6274, vLLM #16744",
        edit: Edit::Layers(|l| {
            moe(l, |m| {
                if m.score_on == ScoreOn::Input {
                    m.score_on = ScoreOn::Output
                }
            })
        }),
    },
    Fault {
        name: "router-twice",
        summary: "router score on the expert's input and on its output",
        source: "TensorRT-LLM #3492",
        edit: Edit::Layers(|l| moe(l, |m| m.score_on = ScoreOn::InputAndOutput)),
    },
    Fault {
        name: "router-softmax",
        summary: "softmax in place of the sigmoid of the router's logits",
        source: "vLLM #43694",
        edit: Edit::Layers(|l| {
            moe(l, |m| {
                if m.scoring == Scoring::Sigmoid {
                    m.scoring = Scoring::SoftmaxAll
                }
            })
        }),
    },
    Fault {
        name: "experts-plus-one",
        summary: "one expert more than configured",
        source: "ik_llama.cpp #321",
        edit: Edit::Layers(|l| moe(l, |m| m.n_used = (m.n_used + 1).min(m.n_experts))),
    },
    Fault {
        name: "no-shared-expert",
        summary: "shared expert missing",
        source: "ATOM #1520",
        edit: Edit::Layers(|l| moe(l, |m| m.shared_hidden_dim = None)),
    },
    Fault {
        name: "no-rope-scaling",
        summary: "scaling of the rotary embedding dropped",
        source: "ik_llama.cpp #2291, llama.cpp #12889",
        edit: Edit::Layers(|l| {
            if let Some(rope) = &mut l.attention.rope {
                rope.inv_freq.clone_from(&rope.unscaled);
                rope.attention_factor = 1.0;
                rope.long = None;
            }
        }),
    },
    Fault {
        name: "rope-pairing",
        summary: "interleaved pairs of the rotary embedding taken as halves, or the reverse",
        source: "common in ports",
        edit: Edit::Layers(|l| {
            if let Some(rope) = &mut l.attention.rope {
                rope.pairing = match rope.pairing {
                    Pairing::Interleaved => Pairing::Half,
                    Pairing::Half => Pairing::Interleaved,
                };
            }
        }),
    },
    Fault {
        name: "no-rope-attention-factor",
        summary: "factor of YaRN or LongRoPE on cos and sin dropped",
        source: "transformers #47435, Megatron-LM #1429, exllamav3 #259",
        edit: Edit::Layers(|l| {
            if let Some(rope) = &mut l.attention.rope {
                rope.attention_factor = 1.0;
            }
        }),
    },
    Fault {
        name: "local-rope-on-full",
        summary: "rotary embedding of the windowed layers on the full ones",
        source: "llama.cpp #14367",
        edit: Edit::Model(|m| swap_ropes(m, |mask| matches!(mask, Mask::Window(_)))),
    },
    Fault {
        name: "full-rope-on-local",
        summary: "rotary embedding of the full layers on the windowed ones",
        source: "llama.cpp #14367",
        edit: Edit::Model(|m| swap_ropes(m, |mask| mask == Mask::Full)),
    },
    Fault {
        name: "no-qkv-bias",
        summary: "biases on queries, keys and values dropped",
        source: "candle-vllm #167, Fast-LLM #398",
        edit: Edit::Layers(|l| l.attention.qkv_bias = false),
    },
    Fault {
        name: "no-softcap",
        summary: "soft cap on the scores missing",
        source: "mlx-examples #857, vllm-metal #665",
        edit: Edit::Layers(|l| l.attention.softcap = None),
    },
    Fault {
        name: "no-logit-softcap",
        summary: "soft cap on the logits missing",
        source: "mlx-examples #857, vLLM #52173",
        edit: Edit::Model(|m| m.logit_softcap = None),
    },
    Fault {
        name: "scale-by-head-dim",
        summary: "scores divided by the root of the head's width in place of the configured number",
        source: "llama.cpp #13951, ferrox #40",
        edit: Edit::Layers(|l| {
            l.attention.scale = (l.attention.head_dim as f64).sqrt().recip() as f32;
        }),
    },
    Fault {
        name: "norm-without-one",
        summary: "norms multiply by w in place of 1 + w",
        source: "Liger-Kernel #74",
        edit: Edit::Model(|m| {
            m.final_norm.plus_one = false;
            for l in &mut m.layers {
                let norms = [
                    &mut l.attn_norm,
                    &mut l.attn_post_norm,
                    &mut l.ffn_norm,
                    &mut l.ffn_post_norm,
                ];
                norms.into_iter().flatten().for_each(|n| n.plus_one = false);
                l.attention
                    .qk_norm
                    .iter_mut()
                    .for_each(|n| n.plus_one = false);
            }
        }),
    },
    Fault {
        name: "no-embedding-scale",
        summary: "embeddings not multiplied by the root of the width",
        source: "a plausible omission",
        edit: Edit::Model(|m| m.embedding_scale = 1.0),
    },
    Fault {
        name: "no-logit-scale",
        summary: "factor on the logits missing",
        source: "a plausible omission",
        edit: Edit::Model(|m| m.logit_scale = 1.0),
    },
    Fault {
        name: "sequential-residual",
        summary: "feed-forward part after attention in place of beside it",
        source: "a plausible misreading",
        edit: Edit::Layers(|l| {
            if l.residual == Residual::Parallel {
                l.residual = Residual::Sequential;
                l.ffn_norm = l.attn_norm;
            }
        }),
    },
    Fault {
        name: "rope-short-list",
        summary: "LongRoPE's list for short sequences on long ones",
        source: "text-generation-inference #2185",
        edit: Edit::Layers(|l| {
            if let Some(rope) = &mut l.attention.rope {
                rope.long = None;
            }
        }),
    },
    Fault {
        name: "rope-long-list",
        summary: "LongRoPE's list for long sequences on short ones, as where the allocated context decides",
        source: "llama.cpp #24823",
        edit: Edit::Layers(|l| {
            let rope = l.attention.rope.as_mut();
            if let Some((limit, _)) = rope.and_then(|rope| rope.long.as_mut()) {
                *limit = 0;
            }
        }),
    },
    Fault {
        name: "no-sinks",
        summary: "attention sinks missing",
        source: "vllm-metal #550",
        edit: Edit::Layers(|l| l.attention.sinks = false),
    },
    Fault {
        name: "no-expert-clamp",
        summary: "gates and ups of the experts not clamped",
        source: "sglang #39920",
        edit: Edit::Layers(|l| {
            moe(l, |m| {
                if let Activation::ClampedSwiglu { limit, .. } = &mut m.activation {
                    *limit = f32::INFINITY;
                }
            })
        }),
    },
    Fault {
        name: "no-expert-bias",
        summary: "biases of the router and of the experts dropped",
        source: "a plausible omission",
        edit: Edit::Layers(|l| moe(l, |m| m.biases = false)),
    },
    Fault {
        name: "router-softmax-all",
        summary: "softmax over all experts before the choice in place of over the chosen after it",
        source: "a plausible misreading",
        edit: Edit::Layers(|l| {
            moe(l, |m| {
                if m.scoring == Scoring::SoftmaxChosen {
                    m.scoring = Scoring::SoftmaxAll
                }
            })
        }),
    },
    Fault {
        name: "no-expert-sum",
        summary: "weights of the chosen experts not divided by their sum",
        source: "torchtitan #1448",
        edit: Edit::Layers(|l| moe(l, |m| m.normalise = false)),
    },
    Fault {
        name: "expert-sum",
        summary: "weights of the chosen experts divided by their sum where they are not to be",
        source: "FlashInfer #2889",
        edit: Edit::Layers(|l| {
            moe(l, |m| {
                if m.scoring == Scoring::SoftmaxAll {
                    m.normalise = true
                }
            })
        }),
    },
    Fault {
        name: "no-expert-scale",
        summary: "factor on the weights of the experts missing",
        source: "sglang-jax #1282",
        edit: Edit::Layers(|l| moe(l, |m| m.score_scale = 1.0)),
    },
    Fault {
        name: "no-choice-bias",
        summary: "bias on the choice of experts missing",
        source: "Megatron-Bridge #4657",
        edit: Edit::Layers(|l| moe(l, |m| m.choice_bias = ChoiceBias::None)),
    },
    Fault {
        name: "choice-bias-in-score",
        summary: "bias on the choice of experts in their weights too",
        source: "vLLM #12002, transformers #41647",
        edit: Edit::Layers(|l| {
            moe(l, |m| {
                if m.choice_bias == ChoiceBias::Choice {
                    m.choice_bias = ChoiceBias::ChoiceAndScore
                }
            })
        }),
    },
    Fault {
        name: "no-groups",
        summary: "experts chosen among all in place of among the best groups",
        source: "a plausible omission",
        edit: Edit::Layers(|l| moe(l, |m| m.groups = None)),
    },
];

/// Gives every rotated layer the rotary embedding of the first layer whose mask is such.
fn swap_ropes(model: &mut ModelSpec, such: fn(Mask) -> bool) {
    let rope = |l: &LayerSpec| l.attention.rope.clone().filter(|_| such(l.mask));
    let Some(rope) = model.layers.iter().find_map(rope) else {
        return;
    };
    let ropes = model.layers.iter_mut().map(|l| &mut l.attention.rope);
    ropes.flatten().for_each(|r: &mut Rope| r.clone_from(&rope));
}

fn moe(layer: &mut LayerSpec, edit: impl Fn(&mut Moe)) {
    if let Ffn::Moe(m) = &mut layer.ffn {
        edit(m);
    }
}

impl Fault {
    /// The fault of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FAULTS.iter().find(|f| f.name == name)
    }

    /// The spec with the fault; `None` when the fault changes nothing of this model.
    pub fn apply(&self, spec: &ModelSpec) -> Option<ModelSpec> {
        let mut edited = spec.clone();
        match self.edit {
            Edit::Layers(edit) => edited.layers.iter_mut().for_each(edit),
            Edit::Model(edit) => edit(&mut edited),
        }
        (edited != *spec).then_some(edited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = FAULTS.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), FAULTS.len());
    }
}
