//! Stored types against the reference C code, bit for bit.
//!
//! `tests/golden/types/` has the script that compiled it, hashes of the values of many generated blocks, and a few
//! blocks with their values. FATHOM_TYPES_GOLDEN names another file of blocks with values.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use fathom_engine::format::StoredType;
use fathom_engine::format::types::Unpack;
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/types");

/// `hashes.json`; its words are make.py's.
#[derive(Deserialize)]
struct Hashes {
    seed: u64,
    groups: usize,
    halves: Vec<u32>,
    floats: Vec<u32>,
    types: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    number: u64,
    blocks: usize,
    halves: Vec<usize>,
    floats: Vec<usize>,
    meta_halves: Vec<usize>,
    meta_floats: Vec<usize>,
    sha256: String,
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Bytes of the scales of a row before its blocks, and rows that lie together.
fn meta(ty: StoredType) -> (usize, usize) {
    match ty.info().unpack {
        Unpack::Blocks(_) => (0, 1),
        Unpack::Rows {
            meta, interleaved, ..
        } => (meta, interleaved),
    }
}

/// The groups of rows that make.py made, one after the other, and the columns of a row.
fn stored(hashes: &Hashes, ty: StoredType, entry: &Entry) -> (Vec<u8>, usize) {
    let (info, (meta, rows)) = (ty.info(), meta(ty));
    let (start, each) = (rows * meta, rows * info.bytes);
    let size = start + entry.blocks * each;
    let places = |meta: &[usize], places: &[usize]| {
        let blocks = (0..entry.blocks).map(|b| start + b * each);
        let in_blocks = blocks.flat_map(|b| places.iter().map(move |p| b + p));
        meta.iter().copied().chain(in_blocks).collect::<Vec<_>>()
    };
    let halves = places(&entry.meta_halves, &entry.halves);
    let floats = places(&entry.meta_floats, &entry.floats);
    let mut bytes = SplitMix(hashes.seed + entry.number);
    let mut picks = SplitMix(!(hashes.seed + entry.number));
    let mut out = Vec::new();
    for group in 0..hashes.groups {
        let words = (0..size.div_ceil(8)).flat_map(|_| bytes.next().to_le_bytes());
        let mut data: Vec<u8> = words.take(size).collect();
        for (places, width, values) in [(&halves, 2, &hashes.halves), (&floats, 4, &hashes.floats)]
        {
            for &at in places {
                let pick = picks.next();
                if pick % 64 < 32 {
                    let value = values[(pick / 64) as usize % values.len()].to_le_bytes();
                    data[at..at + width].copy_from_slice(&value[..width]);
                }
            }
        }
        match group {
            0 => data.fill(0),
            1 => data.fill(255),
            _ => {}
        }
        out.extend(data);
    }
    (out, entry.blocks * info.block)
}

/// All rows of a matrix.
fn unpack(ty: StoredType, data: &[u8], cols: usize) -> Vec<f32> {
    let rows = data.len() / ty.bytes_for(cols).unwrap();
    let mut out = vec![0.0; rows * cols];
    for (row, out) in out.chunks_exact_mut(cols).enumerate() {
        ty.unpack_part(data, cols, row, 0, out);
    }
    out
}

/// The sign and payload of a NaN are the processor's choice: all count as one.
fn bits(value: f32) -> u32 {
    if value.is_nan() {
        0x7fc0_0000
    } else {
        value.to_bits()
    }
}

fn hash(values: &[f32]) -> String {
    let mut hasher = Sha256::new();
    for &value in values {
        hasher.update(bits(value).to_le_bytes());
    }
    hasher
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Types that no GGUF file has, and plain floats: `vectors.safetensors` and other tests have those.
fn is_float(ty: StoredType) -> bool {
    ty.info().ggml_id.is_none() || ty.info().block == 1
}

fn hashes() -> Result<Hashes, Box<dyn Error>> {
    Ok(serde_json::from_slice(&std::fs::read(format!(
        "{GOLDEN}/hashes.json"
    ))?)?)
}

#[test]
fn values_of_many_blocks_match_the_reference_code() -> Result<(), Box<dyn Error>> {
    let hashes = hashes()?;
    let mut wrong = Vec::new();
    for &ty in StoredType::ALL.iter().filter(|ty| !is_float(**ty)) {
        let entry = hashes.types.get(ty.name()).ok_or(ty.name())?;
        let (data, cols) = stored(&hashes, ty, entry);
        if hash(&unpack(ty, &data, cols)) != entry.sha256 {
            wrong.push(ty.name());
        }
    }
    assert!(wrong.is_empty(), "not the reference's values: {wrong:?}");
    Ok(())
}

#[test]
fn one_changed_bit_changes_the_hash() -> Result<(), Box<dyn Error>> {
    let hashes = hashes()?;
    let entry = &hashes.types["IQ3_S"];
    let (mut data, cols) = stored(&hashes, StoredType::IQ3_S, entry);
    // A sign of a block whose scale is an ordinary number.
    let size = StoredType::IQ3_S.info().bytes;
    let block = data
        .chunks_exact(size)
        .position(|b| b[..2] == [0x5f, 0x2a])
        .ok_or("no such block")?;
    data[block * size + 74] ^= 1;
    assert_ne!(hash(&unpack(StoredType::IQ3_S, &data, cols)), entry.sha256);
    Ok(())
}

#[test]
fn values_match_the_vectors() -> Result<(), Box<dyn Error>> {
    let path = std::env::var_os("FATHOM_TYPES_GOLDEN").map_or_else(
        || format!("{GOLDEN}/vectors.safetensors").into(),
        PathBuf::from,
    );
    let bytes = std::fs::read(path)?;
    let golden = SafeTensors::deserialize(&bytes)?;
    let types = StoredType::ALL
        .iter()
        .filter(|ty| ty.info().ggml_id.is_some());
    for &ty in types {
        let stored = golden.tensor(&format!("{ty}.blocks"))?;
        let expected = golden.tensor(&format!("{ty}.values"))?;
        let cols = *expected.shape().last().ok_or("values have no shape")?;
        let found = unpack(ty, stored.data(), cols);
        let expected = expected.data().as_chunks().0.iter();
        let expected: Vec<f32> = expected.map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!(found.len(), expected.len(), "{ty}");
        for (i, (&f, &e)) in found.iter().zip(&expected).enumerate() {
            let (row, col) = (i / cols, i % cols);
            assert_eq!(
                bits(f),
                bits(e),
                "{ty}: value {col} of row {row}: {f:e}, reference {e:e}"
            );
        }
    }
    Ok(())
}
