//! Small vocabularies with the answers of `tokenizers` and llama.cpp, and files that lie.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::format::gguf::{Array, Value};

fn strings(list: &[&str]) -> Value {
    Value::Array(Array::Str(list.iter().map(|s| (*s).to_owned()).collect()))
}

fn metadata(entries: &[(&str, Value)]) -> Metadata {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

/// Byte-level BPE over the bytes of `ab <|>` and a line break, with two merges.
fn by_rank() -> Metadata {
    let tokens = [
        "a", "b", "Ġ", "<", "|", ">", "Ċ", "ab", "Ġab", "<|ab|>", "\n\n", "1", "2",
    ];
    let types = [1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 4, 1, 1];
    metadata(&[
        ("tokenizer.ggml.model", Value::Str("gpt2".into())),
        ("tokenizer.ggml.pre", Value::Str("smollm".into())),
        ("tokenizer.ggml.tokens", strings(&tokens)),
        (
            "tokenizer.ggml.token_type",
            Value::Array(Array::Signed(types.to_vec())),
        ),
        ("tokenizer.ggml.merges", strings(&["a b", "Ġ ab"])),
        ("tokenizer.ggml.bos_token_id", Value::Unsigned(9)),
    ])
}

/// SentencePiece style, with bytes for `é` alone.
fn by_score() -> Metadata {
    let tokens = [
        "<unk>",
        "<s>",
        "</s>",
        "<0xC3>",
        "<0xA9>",
        "a",
        "b",
        "▁",
        "ab",
        "▁a",
        "▁▁",
        "ba",
        "▁▁▁",
    ];
    let types = [2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 1, 4];
    let scores = [0., 0., 0., 0., 0., -9., -9., -9., -1., -2., -3., -1., 0.];
    metadata(&[
        ("tokenizer.ggml.model", Value::Str("llama".into())),
        ("tokenizer.ggml.tokens", strings(&tokens)),
        (
            "tokenizer.ggml.token_type",
            Value::Array(Array::Signed(types.to_vec())),
        ),
        (
            "tokenizer.ggml.scores",
            Value::Array(Array::Float(scores.to_vec())),
        ),
        ("tokenizer.ggml.add_space_prefix", Value::Bool(false)),
        ("tokenizer.ggml.unknown_token_id", Value::Unsigned(0)),
    ])
}

#[test]
fn gguf_merges_by_rank() {
    let tokenizer = Tokenizer::from_gguf("t.gguf", &by_rank()).unwrap();
    assert_eq!(tokenizer.encode("ab ab").unwrap(), [7, 8]);
    assert_eq!(tokenizer.encode("12").unwrap(), [11, 12]);
    assert_eq!(tokenizer.encode("").unwrap(), [0u32; 0]);
    assert_eq!(tokenizer.decode(&[7, 8, 10, 9]), "ab ab\n\n<|ab|>");
    assert_eq!(tokenizer.bos(), Some(9));
    assert!(!tokenizer.add_bos());
    assert_eq!(tokenizer.n_vocab(), 13);
    assert_eq!(
        (tokenizer.id("Ġab"), tokenizer.token(8)),
        (Some(8), Some("Ġab"))
    );
}

#[test]
fn what_looks_like_a_special_token_is_text() {
    let tokenizer = Tokenizer::from_gguf("t.gguf", &by_rank()).unwrap();
    assert_eq!(tokenizer.encode("<|ab|>").unwrap(), [3, 4, 7, 4, 5]);
    assert_eq!(tokenizer.encode_special("a<|ab|>").unwrap(), [0, 9]);
    assert!(tokenizer.is_special(9) && !tokenizer.is_special(10) && !tokenizer.is_special(99));
    // User-defined tokens are matched in any text.
    assert_eq!(tokenizer.encode("a\n\n\nb").unwrap(), [0, 10, 6, 1]);
}

#[test]
fn bytes_without_a_token_are_lost_and_nothing_merges_across_them() {
    let tokenizer = Tokenizer::from_gguf("t.gguf", &by_rank()).unwrap();
    assert_eq!(tokenizer.encode("acb").unwrap(), [0, 1]);
}

#[test]
fn gguf_merges_by_score() {
    let mut meta = by_score();
    let tokenizer = Tokenizer::from_gguf("t.gguf", &meta).unwrap();
    // Equal scores: the leftmost pair first.
    assert_eq!(tokenizer.encode("aba").unwrap(), [8, 5]);
    assert_eq!(tokenizer.encode("baba").unwrap(), [11, 11]);
    assert_eq!(tokenizer.encode(" a é").unwrap(), [9, 7, 3, 4]);
    // Without a token for its bytes, a char is unknown byte by byte.
    assert_eq!(tokenizer.encode("ç").unwrap(), [3, 0]);
    assert_eq!(tokenizer.decode(&[9, 7, 3, 4]), " a é");
    assert_eq!(tokenizer.decode_bytes(&[3]), [0xc3]);
    assert_eq!(tokenizer.decode(&[3]), "\u{fffd}");
    assert_eq!(tokenizer.encode_special("<s>a</s>").unwrap(), [1, 5, 2]);
    assert!(tokenizer.add_bos() && tokenizer.bos() == Some(1));

    meta.insert("tokenizer.ggml.add_space_prefix".into(), Value::Bool(true));
    let tokenizer = Tokenizer::from_gguf("t.gguf", &meta).unwrap();
    assert_eq!(tokenizer.encode("a").unwrap(), [9]);
    assert_eq!(tokenizer.encode_special("<s>a").unwrap(), [1, 9]);
    assert_eq!(tokenizer.decode(&[9]), "a");
}

const JSON: &str = r#"{
    "added_tokens": [
        {"id": 9, "content": "<|x|>", "special": false},
        {"id": 8, "content": "<s>", "special": true},
        {"id": 10, "content": "\n\n", "special": false, "normalized": false}
    ],
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{N}| ?\\p{L}+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}},
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "vocab": {"a": 0, "x": 1, "Ġ": 2, "<": 3, ">": 4, "|": 5, "Ġa": 6, "s": 7},
        "merges": [["Ġ", "a"]]}
}"#;

#[test]
fn hf_tokens_and_special_tokens() {
    let tokenizer = Tokenizer::from_hf("tokenizer.json", JSON.as_bytes(), None).unwrap();
    assert_eq!(tokenizer.encode("a a<s>\n\n").unwrap(), [0, 6, 3, 7, 4, 10]);
    assert_eq!(
        tokenizer.encode("<|x|>").unwrap(),
        [3, 5, 1, 5, 4],
        "it looks special"
    );
    assert_eq!(tokenizer.encode_special("<s>a<|x|>").unwrap(), [8, 0, 9]);
    assert_eq!(tokenizer.decode(&[8, 0, 6, 9, 10]), "<s>a a<|x|>\n\n");
    assert_eq!((tokenizer.bos(), tokenizer.add_bos()), (Some(8), true));
    assert!(tokenizer.is_special(9) && !tokenizer.is_special(10));
    assert_eq!(tokenizer.n_vocab(), 11);

    let config = br#"{"bos_token": {"content": "<|x|>"}, "add_bos_token": false}"#;
    let other = Tokenizer::from_hf("tokenizer.json", JSON.as_bytes(), Some(config)).unwrap();
    assert_eq!((other.bos(), other.add_bos()), (Some(9), false));
    assert_ne!(tokenizer.hash(), other.hash());
}

/// The one line that a broken `tokenizer.json` gives.
fn hf_error(from: &str, to: &str) -> String {
    assert!(JSON.contains(from), "{from}");
    let error = Tokenizer::from_hf("t.json", JSON.replacen(from, to, 1).as_bytes(), None);
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn hf_files_that_lie() {
    let cases = [
        (
            r#""BPE""#,
            r#""Unigram""#,
            "t.json: model.type: found Unigram, expected BPE",
        ),
        (
            r#""x": 1"#,
            r#""x": 0"#,
            "t.json: model.vocab: found id 0 for \"x\" and for \"a\", expected each token and each id once",
        ),
        (
            r#""x": 1"#,
            r#""x": 4294967295"#,
            "t.json: model.vocab: found id 4294967295 for \"x\", expected an id below 4118",
        ),
        (
            r#"["Ġ", "a"]"#,
            r#"["Ġ", "q"]"#,
            "t.json: model.merges[0]: found \"q\", which is no token, expected two tokens that make a third",
        ),
        (
            r#"["Ġ", "a"]"#,
            r#"["a", "a"]"#,
            "t.json: model.merges[0]: found \"aa\", which is no token, expected two tokens that make a third",
        ),
        (
            r#"["Ġ", "a"]"#,
            r#""Ġa""#,
            "t.json: model.merges[0]: found \"Ġa\", expected two tokens with a space between",
        ),
        (
            r#""id": 10"#,
            r#""id": 12"#,
            "t.json: added_tokens: found \"\\n\\n\" with id 12, expected id 10",
        ),
        (
            r#""id": 10"#,
            r#""id": 9"#,
            "t.json: added_tokens: found id 9 for \"\\n\\n\" and for \"<|x|>\", expected each token and each id once",
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(hf_error(from, to), expected);
    }
    assert!(hf_error(r"\\p{N}|", "((").starts_with("t.json: pre_tokenizer: found "));
    assert!(
        hf_error(
            r#""decoder": {"type": "ByteLevel""#,
            r#""decoder": {"type": "CTC""#
        )
        .starts_with("t.json: decoder: found ")
    );
    let bomb = hf_error(r"\\p{N}|", "(((?=a)a{1000}){1000}){1000}|");
    assert!(
        bomb.starts_with("t.json: pre_tokenizer: found a pattern of "),
        "{bomb}"
    );
    assert!(hf_error("{", "[").starts_with("t.json: content: found "));
}

/// The error that metadata with one entry changed gives.
fn gguf_error(mut meta: Metadata, key: &str, value: Option<Value>) -> String {
    match value {
        Some(value) => meta.insert(key.to_owned(), value),
        None => meta.remove(key),
    };
    let error = Tokenizer::from_gguf("t.gguf", &meta)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    error
        .strip_prefix("t.gguf: tokenizer.ggml.")
        .unwrap()
        .to_owned()
}

#[test]
fn gguf_files_that_lie() {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let string = |s: &str| Some(Value::Str(s.into()));
    let rank = |name: &str, value| gguf_error(by_rank(), &key(name), value);
    let score = |name: &str, value| gguf_error(by_score(), &key(name), value);

    assert_eq!(
        rank("model", None),
        "model: found nothing, expected gpt2 or llama"
    );
    assert_eq!(
        rank("model", string("t5")),
        "model: found \"t5\", expected gpt2 or llama"
    );
    assert_eq!(
        rank("pre", string("mine")),
        "pre: found \"mine\", expected the name of a known pre-tokenizer"
    );
    assert_eq!(
        rank("pre", Some(Value::Bool(true))),
        "pre: found a bool, expected a string"
    );
    assert_eq!(
        rank("tokens", None),
        "tokens: found nothing, expected a list of strings"
    );
    assert_eq!(
        rank("tokens", Some(strings(&[]))),
        "tokens: found 0 tokens, expected 1 to 4294967295"
    );
    assert_eq!(
        rank("tokens", Some(strings(&["a"]))),
        "token_type: found 13 types, expected 1, one a token"
    );
    assert_eq!(
        rank("merges", Some(strings(&["a b", "b q"]))),
        "merges[1]: found \"q\", which is no token, expected two tokens that make a third"
    );
    assert_eq!(
        rank("merges", Some(strings(&["ab"]))),
        "merges[0]: found \"ab\", expected two tokens with a space between"
    );
    assert_eq!(
        rank("merges", Some(strings(&[""]))),
        "merges[0]: found \"\", expected two tokens with a space between"
    );
    assert_eq!(
        rank("bos_token_id", Some(Value::Unsigned(13))),
        "bos_token_id: found 13, expected a token id below 13"
    );
    assert_eq!(
        rank("bos_token_id", Some(Value::Signed(-1))),
        "bos_token_id: found -1, expected a token id below 13"
    );
    assert_eq!(
        score("scores", Some(Value::Array(Array::Float(vec![0.0])))),
        "scores: found 1 scores, expected 13, one a token"
    );
    assert_eq!(
        score(
            "scores",
            Some(Value::Array(Array::Float(vec![f64::NAN; 13])))
        ),
        "scores[0]: found NaN, expected a finite number"
    );

    let mut doubled = vec!["a"; 13];
    doubled[0] = "b";
    assert_eq!(
        rank("tokens", Some(strings(&doubled))),
        "tokens: found \"a\" at ids 1 and 2, expected each token once"
    );
    let types = Some(Value::Array(Array::Signed(vec![6; 13])));
    assert_eq!(
        score("token_type", types),
        "tokens[0]: found \"<unk>\", expected a byte as <0x0A>"
    );
}

/// A value of any shape, small.
fn any_value() -> impl Strategy<Value = Value> {
    let text = || {
        prop::sample::select(vec![
            "", "a", "a b", "ab", "Ġ ab", "<0x41>", "<0xé>", "gpt2", "llama", "default", "é é",
            "  ",
        ])
    };
    prop_oneof![
        any::<u64>().prop_map(Value::Unsigned),
        (-20i64..20).prop_map(Value::Signed),
        any::<f64>().prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        text().prop_map(|s| Value::Str(s.to_owned())),
        prop::collection::vec(text(), 0..20).prop_map(|list| strings(&list)),
        prop::collection::vec(-3i64..9, 0..20).prop_map(|list| Value::Array(Array::Signed(list))),
        prop::collection::vec(any::<u64>(), 0..20)
            .prop_map(|list| Value::Array(Array::Unsigned(list))),
        prop::collection::vec(any::<f64>(), 0..20)
            .prop_map(|list| Value::Array(Array::Float(list))),
        prop::collection::vec(any::<bool>(), 0..3).prop_map(|list| Value::Array(Array::Bool(list))),
    ]
}

proptest! {
    #[test]
    fn corrupted_metadata_is_an_error_or_a_tokenizer(
        score in any::<bool>(),
        changes in prop::collection::vec((0usize..10, prop::option::of(any_value())), 1..4),
        text in ".{0,20}",
    ) {
        let names = ["model", "pre", "tokens", "token_type", "scores", "merges", "bos_token_id", "unknown_token_id", "add_bos_token", "add_space_prefix"];
        let mut meta: BTreeMap<_, _> = if score { by_score() } else { by_rank() };
        for (name, value) in changes {
            let key = format!("tokenizer.ggml.{}", names[name]);
            match value {
                Some(value) => meta.insert(key, value),
                None => meta.remove(&key),
            };
        }
        match Tokenizer::from_gguf("t.gguf", &meta) {
            Ok(tokenizer) => {
                let ids = tokenizer.encode_special(&text).unwrap();
                prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.n_vocab()));
                tokenizer.decode(&ids);
            }
            Err(error) => prop_assert!(error.to_string().starts_with("t.gguf: ")),
        }
    }

    #[test]
    fn corrupted_json_is_an_error_or_a_tokenizer(at in 0usize..JSON.len(), byte in any::<u8>(), text in ".{0,20}") {
        let mut json = JSON.as_bytes().to_vec();
        json[at] = byte;
        if let Ok(tokenizer) = Tokenizer::from_hf("t.json", &json, None) {
            let ids = tokenizer.encode_special(&text).unwrap();
            tokenizer.decode(&ids);
        }
    }

    #[test]
    fn known_text_survives(text in "[ab <|>\n12]{0,40}") {
        let tokenizer = Tokenizer::from_gguf("t.gguf", &by_rank()).unwrap();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()), text.clone());
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode_special(&text).unwrap()), text);
    }
}
