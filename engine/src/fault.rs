//! Faults that real deployments shipped, as edits of a spec: the table is the whole implementation.

use crate::spec::{Ffn, LayerSpec, Mask, ModelSpec, Moe, Pairing, QkNormOrder, ScoreOn, Scoring};

/// A fault: a name, what it does, where it was shipped, and the edit.
pub struct Fault {
    /// Name on the command line.
    pub name: &'static str,
    /// What is wrong, in a line.
    pub summary: &'static str,
    /// Where it reached users.
    pub source: &'static str,
    edit: fn(&mut LayerSpec),
}

/// The catalogue.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "no-chunk",
        summary: "chunked attention missing: full attention in its place",
        source: "ik_llama.cpp #335, SGLang #6162, transformers #37351, TensorRT-LLM before 0.21",
        edit: |l| {
            if let Mask::Chunk(_) = l.mask {
                l.mask = Mask::Full;
            }
        },
    },
    Fault {
        name: "window-for-chunk",
        summary: "a sliding window of the chunk's size in place of chunks",
        source: "a plausible misreading of the paper",
        edit: |l| {
            if let Mask::Chunk(n) = l.mask {
                l.mask = Mask::Window(n);
            }
        },
    },
    Fault {
        name: "no-window",
        summary: "sliding window missing: full attention in its place",
        source: "vLLM #11358, SGLang #4823",
        edit: |l| {
            if let Mask::Window(_) = l.mask {
                l.mask = Mask::Full;
            }
        },
    },
    Fault {
        name: "no-temperature",
        summary: "attention temperature of the layers without positions missing",
        source: "vLLM #16216, #16417, #16439",
        edit: |l| l.attention.temperature = None,
    },
    Fault {
        name: "no-qk-norm",
        summary: "norm on query and key heads missing",
        source: "vLLM #16300, #16311",
        edit: |l| l.attention.qk_norm = None,
    },
    Fault {
        name: "qk-norm-before-rope",
        summary: "norm on query and key heads before the rotary embedding in place of after",
        source: "transformers #37418",
        edit: |l| {
            if let Some(norm) = &mut l.attention.qk_norm {
                norm.order = QkNormOrder::BeforeRope;
            }
        },
    },
    Fault {
        name: "qk-norm-eps",
        summary: "norm on query and key heads with eps 1e-6 in place of the configured one",
        source: "transformers #37418",
        edit: |l| {
            if let Some(norm) = &mut l.attention.qk_norm {
                norm.eps = 1e-6;
            }
        },
    },
    Fault {
        name: "router-on-output",
        summary: "router score on the expert's output in place of its input",
        source: "SGLang #6274, vLLM #16744",
        edit: |l| {
            moe(l, |m| {
                if m.score_on == ScoreOn::Input {
                    m.score_on = ScoreOn::Output
                }
            })
        },
    },
    Fault {
        name: "router-twice",
        summary: "router score on the expert's input and on its output",
        source: "TensorRT-LLM #3492",
        edit: |l| moe(l, |m| m.score_on = ScoreOn::InputAndOutput),
    },
    Fault {
        name: "router-softmax",
        summary: "softmax in place of the sigmoid of the router's logits",
        source: "vLLM #43694",
        edit: |l| {
            moe(l, |m| {
                if m.scoring == Scoring::Sigmoid {
                    m.scoring = Scoring::SoftmaxAll
                }
            })
        },
    },
    Fault {
        name: "experts-plus-one",
        summary: "one expert more than configured",
        source: "ik_llama.cpp #321",
        edit: |l| moe(l, |m| m.n_used = (m.n_used + 1).min(m.n_experts)),
    },
    Fault {
        name: "no-shared-expert",
        summary: "shared expert missing",
        source: "a plausible omission",
        edit: |l| moe(l, |m| m.shared_hidden_dim = None),
    },
    Fault {
        name: "no-rope-scaling",
        summary: "scaling of the rotary frequencies dropped",
        source: "ik_llama.cpp #2291, llama.cpp #12889",
        edit: |l| {
            if let Some(rope) = &mut l.attention.rope {
                rope.inv_freq.clone_from(&rope.unscaled);
            }
        },
    },
    Fault {
        name: "rope-pairing",
        summary: "interleaved pairs of the rotary embedding taken as halves, or the reverse",
        source: "common in ports",
        edit: |l| {
            if let Some(rope) = &mut l.attention.rope {
                rope.pairing = match rope.pairing {
                    Pairing::Interleaved => Pairing::Half,
                    Pairing::Half => Pairing::Interleaved,
                };
            }
        },
    },
];

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
        edited.layers.iter_mut().for_each(self.edit);
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
