//! SmolLM2-135M-Instruct, Q4_1: against transformers and llama.cpp on the unpacked weights, and llama.cpp as people run it.

use fathom_engine::{Extend, Logits, Model, PromptTree, SpanId, TreeOptions};
use fathom_tests::{
    CRITERION, Tensors, argmax, fetched, golden_json, ids, logits_at, numbers, open,
};

const FILE: &str = "smollm2-135m-instruct-q4_1.gguf";

/// Natural logarithm of the sum of exponentials.
fn logsumexp(x: &[f32]) -> f64 {
    let max = f64::from(x[argmax(x)]);
    max + x
        .iter()
        .map(|v| (f64::from(*v) - max).exp())
        .sum::<f64>()
        .ln()
}

#[test]
fn smollm2_matches_hf() {
    let Some(path) = fetched(FILE) else { return };
    let model = open(&path);
    let file = Tensors::golden("smollm2.safetensors");
    let tokens = file.ids("tokens");
    let logits = logits_at(&model, &tokens, 0);
    let n_vocab = logits.len() / tokens.len();
    let std = f64::from(file.f32("std")[0]);
    let (top_ids, top_logits) = (file.ids("top_ids"), file.f32("top_logits"));
    let (next_logit, expected_sum) = (file.f32("next_logit"), file.f32("logsumexp"));
    let k = top_ids.len() / tokens.len();
    let mut worst = 0.0f64;
    for (i, row) in logits.chunks(n_vocab).enumerate() {
        let top = i * k..(i + 1) * k;
        assert_eq!(
            argmax(row),
            top_ids[top.start] as usize,
            "argmax at position {i}"
        );
        let next = tokens[(i + 1) % tokens.len()] as usize;
        let pairs = top_ids[top.clone()]
            .iter()
            .map(|t| row[*t as usize])
            .zip(top_logits[top].iter().copied());
        for (got, expected) in pairs.chain([(row[next], next_logit[i])]) {
            worst = worst.max(f64::from(got - expected).abs() / std);
        }
        worst = worst.max((logsumexp(row) - f64::from(expected_sum[i])).abs() / std);
    }
    println!("off by {worst:.1e} standard deviations at most");
    assert!(worst < CRITERION, "off by {worst:.1e} standard deviations");
}

/// Log probabilities of a given text, exact and as llama.cpp with its activations rounded to 8 bits has them.
#[test]
fn smollm2_log_probabilities_match_llama_cpp() {
    let Some(path) = fetched(FILE) else { return };
    let model = open(&path);
    let golden = golden_json("smollm2.json");
    let tokens = ids(&golden["tokens"]);
    let logits = logits_at(&model, &tokens, 0);
    let rows = logits.chunks(logits.len() / tokens.len());
    let got: Vec<f64> = rows
        .zip(&tokens[1..])
        .map(|(row, next)| f64::from(row[*next as usize]) - logsumexp(row))
        .collect();
    let off = |name: &str| -> Vec<f64> {
        let expected = numbers(&golden[name]);
        got.iter()
            .zip(expected)
            .map(|(a, b)| (a - b).abs())
            .collect()
    };
    let exact = off("logp").into_iter().fold(0.0, f64::max);
    assert!(exact < 2e-3, "off by {exact}");
    // Measured between llama.cpp's two: mean 0.051, largest 0.259.
    let packed = off("packed_logp");
    let mean = packed.iter().sum::<f64>() / packed.len() as f64;
    let largest = packed.iter().copied().fold(0.0, f64::max);
    assert!(
        mean < 0.055 && largest < 0.28,
        "mean {mean}, largest {largest}"
    );
}

/// The most probable next tokens of several prompts at once, one token of each a step.
fn greedy(model: &Model, prompts: &[Vec<u32>], n: usize) -> Vec<Vec<u32>> {
    let mut tree = PromptTree::new(model, TreeOptions::default()).unwrap();
    let spans: Vec<SpanId> = prompts.iter().map(|_| tree.root(0)).collect();
    let mut next: Vec<Vec<u32>> = prompts.to_vec();
    let mut out = vec![Vec::new(); prompts.len()];
    for _ in 0..n {
        let batch: Vec<Extend<'_>> = spans
            .iter()
            .zip(&next)
            .map(|(span, tokens)| Extend {
                span: *span,
                tokens,
                logits: Logits::Last,
            })
            .collect();
        let mut best = Vec::new();
        tree.extend(&batch, &mut |row| best.push(argmax(row.logits) as u32))
            .unwrap();
        next = best.iter().map(|t| vec![*t]).collect();
        out.iter_mut().zip(best).for_each(|(o, t)| o.push(t));
    }
    out
}

#[test]
fn smollm2_greedy_text_matches_llama_cpp() {
    let Some(path) = fetched(FILE) else { return };
    let model = open(&path);
    let golden = golden_json("smollm2.json");
    let cases = golden["greedy"].as_array().unwrap();
    let prompts: Vec<_> = cases.iter().map(|c| ids(&c["prompt_ids"])).collect();
    let longest = cases.iter().map(|c| ids(&c["ids"]).len()).max().unwrap();
    for (case, got) in cases.iter().zip(greedy(&model, &prompts, longest)) {
        let expected = ids(&case["ids"]);
        assert_eq!(got[..expected.len()], expected, "{}", case["prompt"]);
    }
}
