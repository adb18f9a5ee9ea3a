//! Files of the checkpoint formats, written byte by byte so that every field can be wrong.
#![allow(dead_code)]

/// A GGUF file: `header` is everything before the data.
pub struct Gguf {
    pub version: u32,
    /// What the header says of the number of tensors and of keys; `None` is the truth.
    pub n_tensors: Option<u64>,
    pub n_keys: Option<u64>,
    /// Key, type of value, the value's bytes.
    pub keys: Vec<(String, u32, Vec<u8>)>,
    pub tensors: Vec<GgufTensor>,
    pub alignment: usize,
    pub data: Vec<u8>,
}

/// A tensor as a GGUF header lists it.
pub struct GgufTensor {
    pub name: String,
    /// What the header says of the number of dimensions; `None` is the truth.
    pub n_dims: Option<u32>,
    /// In the file's order, innermost first.
    pub dims: Vec<u64>,
    pub ty: u32,
    pub offset: u64,
}

impl Gguf {
    /// Two tensors, "a" F32 [2, 4] and "b" Q8_0 [32], and three keys.
    pub fn small() -> Self {
        let mut data: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
        data.extend([0, 0x3c]);
        data.extend(0..32);
        Self {
            version: 3,
            n_tensors: None,
            n_keys: None,
            keys: vec![
                ("general.architecture".into(), 8, string("test")),
                ("n".into(), 4, 7u32.to_le_bytes().to_vec()),
                ("words".into(), 9, strings(&["a", "bc"])),
            ],
            tensors: vec![tensor("a", &[4, 2], 0, 0), tensor("b", &[32], 8, 32)],
            alignment: 32,
            data,
        }
    }

    pub fn key(mut self, name: &str, ty: u32, value: impl Into<Vec<u8>>) -> Self {
        self.keys.push((name.into(), ty, value.into()));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(
            self.n_tensors
                .unwrap_or(self.tensors.len() as u64)
                .to_le_bytes(),
        );
        out.extend(self.n_keys.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, ty, value) in &self.keys {
            out.extend(string(key));
            out.extend(ty.to_le_bytes());
            out.extend(value);
        }
        for tensor in &self.tensors {
            out.extend(string(&tensor.name));
            out.extend(
                tensor
                    .n_dims
                    .unwrap_or(tensor.dims.len() as u32)
                    .to_le_bytes(),
            );
            out.extend(tensor.dims.iter().flat_map(|d| d.to_le_bytes()));
            out.extend(tensor.ty.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment.max(1)), 0);
        out.extend(&self.data);
        out
    }
}

pub fn tensor(name: &str, dims: &[u64], ty: u32, offset: u64) -> GgufTensor {
    GgufTensor {
        name: name.into(),
        n_dims: None,
        dims: dims.to_vec(),
        ty,
        offset,
    }
}

/// A string as GGUF has it: length, bytes.
pub fn string(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

/// The value of an array of strings.
pub fn strings(texts: &[&str]) -> Vec<u8> {
    let mut out = array(8, texts.len() as u64, &[]);
    out.extend(texts.iter().flat_map(|t| string(t)));
    out
}

/// The value of an array: type of elements, number, bytes.
pub fn array(ty: u32, n: u64, elements: &[u8]) -> Vec<u8> {
    let mut out = ty.to_le_bytes().to_vec();
    out.extend(n.to_le_bytes());
    out.extend(elements);
    out
}

/// A safetensors file of this header and data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

/// "a" F32 [2, 4], "b" BF16 [3], "c" I16 [1].
pub fn safetensors_small() -> Vec<u8> {
    let header = concat!(
        r#"{"a":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"#,
        r#""b":{"dtype":"BF16","shape":[3],"data_offsets":[32,38]},"#,
        r#""c":{"dtype":"I16","shape":[1],"data_offsets":[38,40]}}"#
    );
    safetensors(header, &(0..40).collect::<Vec<u8>>())
}
