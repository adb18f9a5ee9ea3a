//! A reference pack: the table of an audit in a file, so that the audit needs no model.
//!
//! Safetensors. `sound` f32 [n]: what the reference predicts, all probes one after the other. `others` f16 [hypotheses - 1, n]
//! and `honest` f16 [engines, n]: what the others predict, less what the reference does; NaN where they predict nothing.
//! `__metadata__.fathom_audit_pack`: the probes, the hypotheses, the tokens' bytes and what identifies the model, as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize_to_file};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::observe::Bytes;
use crate::audit::table::Table;
use crate::{Error, Result};

/// The format's version.
const FORMAT: u32 = 2;
const NAME: &str = "fathom_audit_pack";

/// A table with what an audit needs beside it.
#[derive(Clone, Debug)]
pub struct Pack {
    /// The predictions.
    pub table: Table,
    /// Bytes of the tokens that it looks at.
    pub bytes: Bytes,
    /// The model's name, and the hashes of its weights, spec, tokenizer and template.
    pub model: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    fathom: String,
    model: BTreeMap<String, Value>,
    table: Table,
    /// Hexadecimal.
    bytes: BTreeMap<u32, String>,
}

impl Pack {
    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let table = &self.table;
        let sound: Vec<f32> = table
            .predicted
            .first()
            .into_iter()
            .flatten()
            .flatten()
            .copied()
            .collect();
        let less = |rows: &[Vec<Vec<f32>>]| -> Vec<u8> {
            let rows = rows.iter().flat_map(|row| row.iter().flatten().zip(&sound));
            rows.flat_map(|(x, s)| f16::from_f32(x - s).to_le_bytes())
                .collect()
        };
        let hex = |b: &Vec<u8>| b.iter().map(|b| format!("{b:02x}")).collect();
        let head = Head {
            format: FORMAT,
            fathom: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.model.clone(),
            table: table.clone(),
            bytes: self.bytes.iter().map(|(id, b)| (*id, hex(b))).collect(),
        };
        let text = serde_json::to_string(&head)
            .map_err(|e| Error::Unfinished(format!("{}: {e}", path.display())))?;
        let (others, honest) = (
            less(table.predicted.get(1..).unwrap_or_default()),
            less(&table.honest),
        );
        let sound: Vec<u8> = sound.iter().flat_map(|x| x.to_le_bytes()).collect();
        let n = sound.len() / 4;
        let view = |dtype, shape: Vec<usize>, data| {
            TensorView::new(dtype, shape, data)
                .map_err(|e| Error::Unfinished(format!("{}: {e}", path.display())))
        };
        let tensors = [
            ("sound", view(Dtype::F32, vec![n], &sound)?),
            (
                "others",
                view(
                    Dtype::F16,
                    vec![table.predicted.len().saturating_sub(1), n],
                    &others,
                )?,
            ),
            (
                "honest",
                view(Dtype::F16, vec![table.honest.len(), n], &honest)?,
            ),
        ];
        let metadata = [(NAME.to_owned(), text)].into();
        serialize_to_file(tensors, Some(metadata), path)
            .map_err(|e| Error::write(path, std::io::Error::other(e.to_string())))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is none, of another version, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let wrong = |field: &str, found: String, expected: &str| {
            Error::input(&file, field, found, expected)
        };
        let data = std::fs::read(path).map_err(|e| Error::read(path, e))?;
        let is = "a reference pack of `fathom logits pack`";
        let (_, metadata) =
            SafeTensors::read_metadata(&data).map_err(|e| wrong("header", e.to_string(), is))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(NAME));
        let text = text.ok_or_else(|| wrong("__metadata__", "none of a pack".to_owned(), is))?;
        let head: Head = serde_json::from_str(text).map_err(|e| wrong(NAME, e.to_string(), is))?;
        if head.format != FORMAT {
            return Err(wrong(
                "format",
                head.format.to_string(),
                &FORMAT.to_string(),
            ));
        }
        let mut table = head.table;
        let lengths: Vec<usize> = table.probes.iter().map(|p| p.data()).collect();
        let n: usize = lengths.iter().sum();
        for (i, probe) in table.probes.iter().enumerate() {
            if !probe.is_consistent() {
                return Err(wrong(
                    &format!("probes[{i}]"),
                    "places that are not there".to_owned(),
                    "a body within the prompt, a tail for each token of the path",
                ));
            }
        }
        let all =
            SafeTensors::deserialize(&data).map_err(|e| wrong("tensors", e.to_string(), is))?;
        let tensor = |name: &str, dtype: Dtype, size: usize| {
            let t = all
                .tensor(name)
                .map_err(|e| wrong(name, e.to_string(), is))?;
            let width = t.shape().last().copied().unwrap_or(0);
            if t.dtype() != dtype || width != n || n == 0 {
                let found = format!("{:?} {:?}", t.dtype(), t.shape());
                return Err(wrong(name, found, &format!("{dtype:?}, rows of {n}")));
            }
            Ok(t.data()
                .chunks_exact(n * size)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>())
        };
        let split = |row: Vec<f32>| -> Vec<Vec<f32>> {
            let mut rest = row.as_slice();
            lengths
                .iter()
                .map(|n| {
                    let (own, after) = rest.split_at(*n);
                    rest = after;
                    own.to_vec()
                })
                .collect()
        };
        let sound = tensor("sound", Dtype::F32, 4)?;
        let sound: Vec<f32> = sound
            .concat()
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let more = |rows: Vec<Vec<u8>>| -> Vec<Vec<Vec<f32>>> {
            let rows = rows.into_iter().map(|row| {
                let less = row
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f16::from_le_bytes(*b).to_f32());
                split(less.zip(&sound).map(|(d, s)| s + d).collect())
            });
            rows.collect()
        };
        let others = more(tensor("others", Dtype::F16, 2)?);
        table.honest = more(tensor("honest", Dtype::F16, 2)?);
        table.predicted = std::iter::once(split(sound.clone()))
            .chain(others)
            .collect();
        if table.noise.len() != table.hypotheses.len() {
            let found = format!("{} numbers", table.noise.len());
            return Err(wrong("noise", found, "one of each hypothesis"));
        }
        if table.predicted.len() != table.hypotheses.len() {
            let expected = format!(
                "{} rows, as there are hypotheses but for sound",
                table.hypotheses.len().saturating_sub(1)
            );
            return Err(wrong(
                "others",
                format!("{} rows", table.predicted.len() - 1),
                &expected,
            ));
        }
        let mut bytes = Bytes::new();
        for (id, hex) in head.bytes {
            let own = hex.as_bytes().chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).ok()?;
                u8::from_str_radix(pair, 16).ok()
            });
            let own: Option<Vec<u8>> = own.collect();
            bytes.insert(
                id,
                own.ok_or_else(|| wrong("bytes", hex.clone(), "hexadecimal digits"))?,
            );
        }
        Ok(Self {
            table,
            bytes,
            model: head.model,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::hypothesis::Hypothesis;
    use crate::audit::probe::Probe;
    use crate::audit::table::Shape;

    fn pack() -> Pack {
        let probe = Probe {
            name: "recall-0".to_owned(),
            ids: vec![1, 5, 6],
            body: 1..3,
            path: vec![7],
            tail: vec![vec![7, 8]],
            ..Probe::default()
        };
        let fault = Hypothesis {
            name: "no-chunk".to_owned(),
            ..Hypothesis::sound()
        };
        Pack {
            table: Table {
                shape: Shape::Raw,
                scored: true,
                counts: Vec::new(),
                hypotheses: vec![Hypothesis::sound(), fault],
                probes: vec![probe.clone(), probe],
                predicted: vec![
                    vec![vec![-0.1, -0.2, -1.0, -2.0]; 2],
                    vec![vec![-0.1, f32::NAN, -1.5, -2.0]; 2],
                ],
                honest: vec![vec![vec![-0.1, -0.2, -1.0, -2.25]; 2]],
                noise: vec![1.0, 1.5],
            },
            bytes: [(7, vec![0xe2, 0x80]), (8, b"x".to_vec())].into(),
            model: [("name".to_owned(), Value::from("m"))].into(),
        }
    }

    #[test]
    fn a_pack_is_read_as_it_was_written() -> Result<()> {
        let dir = tempfile::tempdir().map_err(|e| Error::Usage(e.to_string()))?;
        let path = dir.path().join("a.pack");
        let written = pack();
        written.write(&path)?;
        let read = Pack::read(&path)?;
        assert_eq!((&read.bytes, &read.model), (&written.bytes, &written.model));
        assert_eq!(read.table.probes, written.table.probes);
        assert_eq!(read.table.hypotheses, written.table.hypotheses);
        assert_eq!(read.table.predicted[0], written.table.predicted[0]);
        assert_eq!(read.table.honest, written.table.honest);
        let row = &read.table.predicted[1][1];
        assert!(row[1].is_nan() && (row[2] + 1.5).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn what_is_no_pack_is_an_error_and_no_panic() -> Result<()> {
        let dir = tempfile::tempdir().map_err(|e| Error::Usage(e.to_string()))?;
        let path = dir.path().join("a.pack");
        pack().write(&path)?;
        let whole = std::fs::read(&path).map_err(|e| Error::read(&path, e))?;
        for cut in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..cut]).map_err(|e| Error::write(&path, e))?;
            assert!(Pack::read(&path).is_err(), "{cut}");
        }
        // A wrong number anywhere in the header reads as another pack or is an error.
        for at in (8..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] = bytes[at].wrapping_add(1);
            std::fs::write(&path, &bytes).map_err(|e| Error::write(&path, e))?;
            let _ = Pack::read(&path);
        }
        Ok(())
    }
}
