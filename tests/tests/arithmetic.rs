//! What a prompt costs by the model's shapes is what the kernels count while they evaluate it.

use fathom_engine::kernels::work;
use fathom_engine::{Extend, Logits, PromptTree, TreeOptions};
use fathom_tests::{golden, open};

/// Full, windowed and chunked layers, mixtures, latents.
const NAMES: [&str; 6] = [
    "llama31",
    "gemma3",
    "llama4_scout",
    "deepseek_v2",
    "gpt_oss",
    "qwen3_moe",
];

/// One test, because the counter is the process's.
#[test]
fn operations_are_those_counted() {
    for name in NAMES {
        let model = open(&golden(name));
        let tokens = vec![1; 100];
        let mut tree = PromptTree::new(&model, TreeOptions::default()).unwrap();
        let span = tree.root(0);
        let before = work();
        let batch = [Extend {
            span,
            tokens: &tokens,
            logits: Logits::Last,
        }];
        tree.extend(&batch, &mut |_| {}).unwrap();
        let counted = (work() - before).flop as f64;
        let computed = model.prompt_flop(tokens.len());
        assert_eq!(counted, computed.total(), "{name}: {computed:?}");
        // One token more.
        let before = work();
        let batch = [Extend {
            tokens: &tokens[..1],
            ..batch[0]
        }];
        tree.extend(&batch, &mut |_| {}).unwrap();
        let counted = (work() - before).flop as f64;
        let one = model.prompt_flop(1);
        let attention = model.token_attention_flop(tokens.len());
        assert_eq!(counted, one.matrices + one.experts + attention, "{name}");
    }
}
