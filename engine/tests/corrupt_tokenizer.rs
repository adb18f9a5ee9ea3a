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

/// A vocabulary that fits together, but for one spoilt part in half of the cases.
fn metadata() -> impl Strategy<Value = Metadata> {
    let piece = || proptest::sample::select(PIECES).prop_map(String::from);
    let tokens = proptest::sample::subsequence(PIECES, 8..PIECES.len()).prop_shuffle();
    let model = prop_oneof![9 => Just("gpt2"), 9 => Just("llama"), 1 => Just("bert")];
    let pre = prop_oneof![9 => Just("default"), 9 => Just("llama-bpe"), 1 => Just("nobody")];
    (
        tokens,
        (model, pre),
        proptest::collection::vec(1i64..6, PIECES.len()),
        proptest::collection::vec(-9.0..9.0f64, PIECES.len()),
        proptest::collection::vec((piece(), piece()), 40),
        proptest::option::of(0u64..12),
        any::<[bool; 2]>(),
        (0..10usize, any::<i64>(), any::<f64>(), piece()),
    )
        .prop_map(
            |(tokens, (model, pre), types, scores, merges, id, flags, spoil)| {
                let mut tokens: Vec<String> = tokens.into_iter().map(String::from).collect();
                let is_byte = |t: &String| t == "<0x0A>" || t == "<0xE8>";
                let types = tokens.iter().zip(types);
                let mut types: Vec<i64> = types
                    .map(|(t, ty)| if is_byte(t) { 6 } else { ty })
                    .collect();
                let mut scores = scores[..tokens.len()].to_vec();
                let known = |(a, b): &(String, String)| {
                    !a.is_empty()
                        && [a, b, &format!("{a}{b}")]
                            .iter()
                            .all(|t| tokens.contains(t))
                };
                let merges = merges.into_iter().filter(known);
                let mut merges: Vec<String> = merges.map(|(a, b)| format!("{a} {b}")).collect();
                let (part, integer, float, text) = spoil;
                let at = integer.unsigned_abs() as usize % tokens.len();
                match part {
                    0 => types[at] = integer,
                    1 => types.truncate(at),
                    2 => scores[at] = float,
                    3 => scores.truncate(at),
                    4 => merges.push(text),
                    5 => tokens[at] = text,
                    _ => {}
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
                        Value::Bool(flags[0]),
                    ),
                ]);
                if let Some(id) = id {
                    meta.insert("tokenizer.ggml.bos_token_id".into(), Value::Unsigned(id));
                    meta.insert(
                        "tokenizer.ggml.unknown_token_id".into(),
                        Value::Unsigned(id / 2),
                    );
                }
                if flags[1] {
                    meta.insert("general.name".into(), Value::Str("Phi-3 mini".into()));
                }
                meta
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

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

/// The vocabularies above are of use only if most are read.
#[test]
fn most_vocabularies_are_read() -> Result<(), proptest::test_runner::Reason> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut n_read = 0;
    for _ in 0..200 {
        let meta = metadata().new_tree(&mut runner)?.current();
        n_read += usize::from(Tokenizer::from_gguf("x.gguf", &meta).is_ok());
    }
    assert!(n_read > 80, "{n_read} of 200");
    Ok(())
}
