//! The feed-forward part of a layer: a gated network, or a mixture of them.

/// Feed-forward part.
#[derive(Clone, Debug, PartialEq)]
pub enum Ffn {
    /// down(act(gate x) * up x).
    Dense {
        /// Width between.
        hidden_dim: usize,
        /// Activation of the gate.
        activation: Activation,
    },
    /// A mixture of experts.
    Moe(Moe),
}

/// Routed experts and, beside them, one that every token passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Moe {
    /// Routed experts.
    pub n_experts: usize,
    /// Experts a token passes.
    pub n_used: usize,
    /// Width between, in a routed expert.
    pub hidden_dim: usize,
    /// Width between, in the shared expert.
    pub shared_hidden_dim: Option<usize>,
    /// Activation of the gate.
    pub activation: Activation,
    /// From router logits to scores.
    pub scoring: Scoring,
    /// Chosen scores are divided by their sum.
    pub normalise: bool,
    /// Factor on the scores (DeepSeek's `routed_scaling_factor`); 1 when there is none.
    pub score_scale: f32,
    /// What the score multiplies.
    pub score_on: ScoreOn,
    /// Biases: on the router's logits, and inside the experts (gpt-oss).
    pub biases: bool,
    /// A learned bias on the scores of all experts (DeepSeek V3).
    pub choice_bias: ChoiceBias,
    /// The choice is first among groups of experts (DeepSeek).
    pub groups: Option<Groups>,
}

/// What a learned bias on the experts' scores counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChoiceBias {
    /// There is none.
    None,
    /// The choice, and not the score.
    Choice,
    /// Both: a fault.
    ChoiceAndScore,
}

/// Groups of experts, of equal size, in the order of the experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Groups there are; divides the number of experts.
    pub n: usize,
    /// Groups whose experts a token may pass.
    pub used: usize,
    /// What groups are compared by.
    pub by: GroupScore,
}

/// What groups of experts are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScore {
    /// Their best expert (DeepSeek V2).
    Best,
    /// The sum of their two best (DeepSeek V3).
    TwoBest,
}

impl Moe {
    /// Softmax over all, scores on the output, and none of the further steps.
    pub fn plain(
        n_experts: usize,
        n_used: usize,
        hidden_dim: usize,
        activation: Activation,
    ) -> Self {
        Self {
            n_experts,
            n_used,
            hidden_dim,
            shared_hidden_dim: None,
            activation,
            scoring: Scoring::SoftmaxAll,
            normalise: false,
            score_scale: 1.0,
            score_on: ScoreOn::Output,
            biases: false,
            choice_bias: ChoiceBias::None,
            groups: None,
        }
    }
}

/// From router logits to scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// Sigmoid of each chosen logit (Llama 4).
    Sigmoid,
    /// Softmax over all experts, then the choice (Mixtral, Qwen MoE).
    SoftmaxAll,
    /// The choice, then softmax over the chosen (gpt-oss).
    SoftmaxChosen,
}

/// What an expert's score multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreOn {
    /// The expert's input (Llama 4).
    Input,
    /// The expert's output (all others).
    Output,
    /// Both: a fault that was shipped.
    InputAndOutput,
}

/// Activation of a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// GELU with the tanh approximation.
    GeluTanh,
    /// gpt-oss: g = min(gate, limit), u = clamp(up, +-limit); (u + 1) * g * sigmoid(alpha g).
    ClampedSwiglu {
        /// The limit, 7.
        limit: f32,
        /// Gain of the sigmoid, 1.702.
        alpha: f32,
    },
}
