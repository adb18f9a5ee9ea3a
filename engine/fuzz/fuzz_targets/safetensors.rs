//! Any bytes as a safetensors file: an error, or tensors that can be unpacked.
#![no_main]

use fathom_engine::format::{Bytes, safetensors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = safetensors::read("fuzz.safetensors", &Bytes::from_vec(bytes.to_vec())) {
        for tensor in file.tensors.values() {
            let mut values = vec![0.0; tensor.shape.iter().product()];
            tensor.ty.unpack(&tensor.data, &mut values);
        }
    }
});
