//! Tokenizer metadata of any content: a tokenizer that reads and writes any text, or an error; never a panic.

use fathom_engine::format::gguf::{Array, Metadata, Value};
use fathom_engine::tokenizer::Tokenizer;
use proptest::prelude::*;

/// Pieces that vocabularies, merges and texts are made of, so that they meet.
const PIECES: &[&str] = &[
    "a",
    "b",
    "ab",
    "aba",
    "abab",
    " ",
    "  ",
    "Ġ",
    "Ġa",
    "▁",
    "▁a",
    "▁▁",
    "é",
    "Ã©",
    "読",
    "🦀",
    "\u{200d}",
    "\n",
    "Ċ",
    "<0x0A>",
    "<0xE8>",
    "<0xZZ>",
    "<0x",
    "<unk>",
    "<s>",
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "\0",
    "",
    "1",
    "23",
    "'s",
    ".",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(String::from),
        1 => any::<String>(),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A list of tokens with its types, scores and merges, which mostly fit together.
fn metadata() -> impl Strategy<Value = Metadata> {
    let piece = || proptest::sample::select(PIECES).prop_map(String::from);
    let tokens = prop_oneof![
        4 => proptest::sample::subsequence(PIECES, 1..PIECES.len())
            .prop_map(|list| list.into_iter().map(String::from).collect::<Vec<_>>()),
        1 => proptest::collection::vec(piece(), 0..20),
    ];
    let model = prop_oneof![Just("gpt2"), Just("llama"), Just("bert")];
    let pre = prop_oneof![
        Just("default"),
        Just("llama-bpe"),
        Just("smollm"),
        Just("nobody")
    ];
    let merge = prop_oneof![
        4 => (piece(), piece()).prop_map(|(a, b)| format!("{a} {b}")),
        1 => piece(),
    ];
    (
        tokens,
        model,
        pre,
        proptest::collection::vec(prop_oneof![8 => 1i64..7, 1 => any::<i64>()], 40),
        proptest::collection::vec(prop_oneof![8 => -9.0..9.0f64, 1 => any::<f64>()], 40),
        proptest::collection::vec(merge, 0..12),
        proptest::option::of(0u64..40),
        any::<[bool; 4]>(),
    )
        .prop_map(
            |(tokens, model, pre, mut types, mut scores, merges, id, flags)| {
                // One list in some is of another length than the tokens.
                if !flags[0] || !flags[1] {
                    types.truncate(tokens.len());
                    scores.truncate(tokens.len());
                }
                let mut meta = Metadata::from([
                    ("tokenizer.ggml.model".to_string(), Value::Str(model.into())),
                    ("tokenizer.ggml.pre".into(), Value::Str(pre.into())),
                    (
                        "tokenizer.ggml.tokens".into(),
                        Value::Array(Array::Str(tokens)),
                    ),
                    (
                        "tokenizer.ggml.token_type".into(),
                        Value::Array(Array::Signed(types)),
                    ),
                    (
                        "tokenizer.ggml.scores".into(),
                        Value::Array(Array::Float(scores)),
                    ),
                    (
                        "tokenizer.ggml.merges".into(),
                        Value::Array(Array::Str(merges)),
                    ),
                    (
                        "tokenizer.ggml.add_space_prefix".into(),
                        Value::Bool(flags[2]),
                    ),
                ]);
                if let Some(id) = id {
                    meta.insert("tokenizer.ggml.bos_token_id".into(), Value::Unsigned(id));
                    meta.insert(
                        "tokenizer.ggml.unknown_token_id".into(),
                        Value::Unsigned(id / 2),
                    );
                }
                if flags[3] {
                    meta.insert("general.name".into(), Value::Str("Phi-3 mini".into()));
                }
                meta
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_vocabulary_is_an_error_or_encodes_any_text(meta in metadata(), text in text()) {
        match Tokenizer::from_gguf("x.gguf", &meta) {
            Ok(tokenizer) => {
                for ids in [tokenizer.encode(&text), tokenizer.encode_special(&text)].into_iter().flatten() {
                    prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.n_vocab()));
                    let _ = tokenizer.decode(&ids);
                }
                let _ = tokenizer.decode_bytes(&[0, 1, u32::MAX]);
            }
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control), "{:?}", error.to_string()),
        }
    }

    /// A key of another type of value, or none.
    #[test]
    fn a_key_of_any_value_is_an_error_or_a_tokenizer(
        meta in metadata(),
        at in any::<proptest::sample::Index>(),
        value in prop_oneof![
            Just(None),
            Just(Some(Value::Unsigned(u64::MAX))),
            Just(Some(Value::Signed(-1))),
            Just(Some(Value::Float(f64::NAN))),
            Just(Some(Value::Bool(true))),
            Just(Some(Value::Str(String::new()))),
            Just(Some(Value::Array(Array::Str(vec![])))),
            Just(Some(Value::Array(Array::Unsigned(vec![u64::MAX; 3])))),
            Just(Some(Value::Array(Array::Float(vec![])))),
            Just(Some(Value::Array(Array::Bool(vec![true])))),
        ],
    ) {
        let mut meta = meta;
        let key = at.get(&meta.keys().collect::<Vec<_>>()).to_string();
        match value {
            Some(value) => drop(meta.insert(key, value)),
            None => drop(meta.remove(&key)),
        }
        if let Ok(tokenizer) = Tokenizer::from_gguf("x.gguf", &meta) {
            let _ = tokenizer.encode("ab 読 \n");
        }
    }
}
