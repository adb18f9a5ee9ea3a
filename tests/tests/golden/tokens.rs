//! Token ids as llama.cpp gives them: a nasty text line by line and whole, and all of Moby Dick.

use fathom_engine::format::checkpoint::{Checkpoint, Config};
use fathom_engine::tokenizer::Tokenizer;
use fathom_tests::{fetched, golden, golden_json, ids};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn hex(data: &[u8]) -> String {
    let digest = Sha256::digest(data);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hash of ids as little-endian u32.
fn hash(ids: &[u32]) -> String {
    hex(&ids.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<_>>())
}

/// The tokenizer of a fetched GGUF file, and what `tokens.json` says of it.
fn tokenizer(model: &str) -> Option<(Tokenizer, Value)> {
    let row = golden_json("tokens.json")["models"][model].take();
    let path = fetched(row["file"].as_str().unwrap())?;
    let checkpoint = Checkpoint::open(&path).unwrap();
    let Config::Gguf(metadata) = &checkpoint.config else {
        panic!("{} is no GGUF file", checkpoint.name);
    };
    let tokenizer = Tokenizer::from_gguf(&checkpoint.name, metadata).unwrap();
    Some((tokenizer, row))
}

fn nasty_text_matches(model: &str) {
    let Some((tokenizer, row)) = tokenizer(model) else {
        return;
    };
    let text = String::from_utf8(std::fs::read(golden("nasty.txt")).unwrap()).unwrap();
    let mut wrong = 0;
    for (line, expected) in text.split('\n').zip(row["nasty_lines"].as_array().unwrap()) {
        let (got, expected) = (tokenizer.encode(line).unwrap(), ids(expected));
        if got != expected {
            println!("{line:?}\n  is       {got:?}\n  expected {expected:?}");
            wrong += 1;
        }
    }
    assert_eq!(wrong, 0, "lines with other ids");
    assert_eq!(tokenizer.encode(&text).unwrap(), ids(&row["nasty"]["ids"]));
}

fn moby_dick_matches(model: &str) {
    let Some(path) = fetched("moby-dick.txt") else {
        return;
    };
    let Some((tokenizer, row)) = tokenizer(model) else {
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let expected = &golden_json("tokens.json")["texts"]["moby_dick"]["sha256"];
    assert_eq!(hex(text.as_bytes()), *expected, "the text");
    let got = tokenizer.encode(&text).unwrap();
    let row = &row["moby_dick"];
    assert_eq!(got[..100], ids(&row["ids"]));
    assert_eq!(got.len() as u64, row["tokens"].as_u64().unwrap());
    assert_eq!(hash(&got), row["ids_sha256"]);
    assert_eq!(tokenizer.decode(&got), text);
}

#[test]
fn smollm2_ids_of_nasty_text_match_llama_cpp() {
    nasty_text_matches("smollm2");
}

#[test]
fn gemma3_ids_of_nasty_text_match_llama_cpp() {
    nasty_text_matches("gemma3");
}

#[test]
fn smollm2_ids_of_moby_dick_match_llama_cpp() {
    moby_dick_matches("smollm2");
}

#[test]
fn gemma3_ids_of_moby_dick_match_llama_cpp() {
    moby_dick_matches("gemma3");
}

/// `tokenizer.json` in the shapes that the families ship, with merges of a few lines.
#[test]
fn ids_by_tokenizers_of_the_families_match_hf() {
    let expected = golden_json("tokenizers/ids.json");
    let text = std::fs::read_to_string(golden("nasty.txt")).unwrap();
    for (name, lines) in expected.as_object().unwrap() {
        let json = std::fs::read(golden(&format!("tokenizers/{name}.json"))).unwrap();
        let tokenizer = Tokenizer::from_hf(name, &json, None).unwrap_or_else(|e| panic!("{e}"));
        for (line, expected) in text.split('\n').zip(lines.as_array().unwrap()) {
            assert_eq!(
                tokenizer.encode(line).unwrap(),
                ids(expected),
                "{name}: {line:?}"
            );
        }
    }
}
