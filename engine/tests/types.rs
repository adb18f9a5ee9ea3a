//! Stored types against ggml's reference C, bit for bit.
//!
//! `tests/golden/types/` has the blocks with their values and the script that made them: every special scale at
//! every place, and random blocks. FATHOM_TYPES_GOLDEN names another such file.

use std::error::Error;
use std::path::PathBuf;

use fathom_engine::format::StoredType;
use safetensors::SafeTensors;

const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/golden/types/ggml.safetensors"
);

#[test]
fn unpack_matches_ggml() -> Result<(), Box<dyn Error>> {
    let path = std::env::var_os("FATHOM_TYPES_GOLDEN").map_or(GOLDEN.into(), PathBuf::from);
    let bytes = std::fs::read(path)?;
    let golden = SafeTensors::deserialize(&bytes)?;
    for &ty in StoredType::ALL {
        let stored = golden.tensor(&format!("{ty}.blocks"))?;
        let expected = golden.tensor(&format!("{ty}.values"))?;
        let expected = expected.data().as_chunks().0.iter();
        let expected: Vec<f32> = expected.map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!(
            ty.bytes_for(expected.len()),
            Some(stored.data().len()),
            "{ty}"
        );

        let mut found = vec![0.0; expected.len()];
        ty.unpack(stored.data(), &mut found);
        let block = ty.info().block;
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            // The sign and payload of a NaN are the processor's choice.
            let same = f.to_bits() == e.to_bits() || (f.is_nan() && e.is_nan());
            let (i, block) = (i % block, i / block);
            assert!(
                same,
                "{ty}: value {i} of block {block}: {f:e}, ggml has {e:e}"
            );
        }
    }
    Ok(())
}
