//! Any bytes as a GGUF file with a vocabulary: an error, or a tokenizer of any text.
//! The text is the file itself, as far as it is UTF-8.
#![no_main]

use fathom_engine::format::{Bytes, gguf};
use fathom_engine::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = gguf::read("fuzz.gguf", &Bytes::from_vec(bytes.to_vec())) else {
        return;
    };
    if let Ok(tokenizer) = Tokenizer::from_gguf("fuzz.gguf", &file.metadata) {
        let text = String::from_utf8_lossy(bytes);
        for ids in [tokenizer.encode(&text), tokenizer.encode_special(&text)]
            .into_iter()
            .flatten()
        {
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.n_vocab()));
            let _ = tokenizer.decode(&ids);
        }
    }
});
