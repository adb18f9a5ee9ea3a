//! A Hugging Face folder as one GGUF file.

use std::path::Path;

use super::{Done, Quantized, Target, metadata, pack, planned, stays, tensors};
use crate::chat::{TemplateSources, chat_template_of};
use crate::format::StoredType;
use crate::format::checkpoint::{Checkpoint, Config};
use crate::format::gguf::{Value, write};
use crate::model::Model;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// Alignment of the tensors' data, GGUF's default.
const ALIGNMENT: usize = 32;

/// Writes the folder `checkpoint` to `out`.
///
/// # Errors
/// As [`super::quantize`].
pub(super) fn quantize(checkpoint: Checkpoint, target: &Target, out: &Path) -> Result<Quantized> {
    let model = Model::from_checkpoint(checkpoint, false)?;
    let Config::Hf(config) = &model.checkpoint.config else {
        return Err(Error::input(
            &model.name,
            "model",
            "a GGUF file",
            "a folder",
        ));
    };
    let file = format!("{}/config.json", model.name);
    let described = metadata::describe(&file, &model.spec, config)?;
    let mut keys = described.keys;
    let name = Path::new(&model.name).file_name();
    let name = name.map_or("model".into(), |n| n.to_string_lossy());
    keys.push(("general.name".into(), Value::Str(name.into_owned())));
    let numbers = [
        ("general.file_type", target.file_type),
        ("general.quantization_version", 2),
    ];
    keys.extend(numbers.map(|(key, n)| (key.to_owned(), Value::Unsigned(n.into()))));
    keys.extend(vocabulary(&model, config)?);

    let mut list = described.ropes;
    list.extend(tensors::tensors(
        &model.spec,
        &model.weights,
        described.style,
    ));
    let mut done: Vec<Done> = list.iter().map(|t| plan(t, target)).collect();
    let planned = planned(&done, list.iter().map(|t| &*t.shape));
    let pairs: Vec<_> = keys
        .iter()
        .map(|(key, v)| write::Pair::new(key, v))
        .collect();
    let bytes = write::write(out, &pairs, ALIGNMENT, &planned, |i, sink| {
        let t = &list[i];
        pack(
            &model.name,
            &mut done[i],
            t.size(),
            |r, to| t.row(r, to),
            sink,
        )
    })?;
    Ok(Quantized {
        tensors: done,
        bytes,
    })
}

/// The tokenizer's keys and the chat template.
fn vocabulary(
    model: &Model,
    config: &serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<(String, Value)>> {
    let files = &model.checkpoint.files;
    let file = format!("{}/tokenizer.json", model.name);
    let json = files.get("tokenizer.json").ok_or_else(|| {
        let expected = "tokenizer.json, which the GGUF file gets its tokens from";
        Error::input(&model.name, "tokenizer.json", "no such file", expected)
    })?;
    let beside = files.get("tokenizer_config.json").map(|b| &**b);
    let mut keys = Tokenizer::to_gguf(&file, json, beside, config, model.spec.n_vocab)?;
    if let Some(template) = chat_template_of(&TemplateSources::of(&model.checkpoint))? {
        keys.push(("tokenizer.chat_template".into(), Value::Str(template)));
    }
    Ok(keys)
}

/// What is to become of a tensor.
fn plan(t: &tensors::Named<'_>, target: &Target) -> Done {
    let [_, cols] = t.size();
    let fits = |ty: StoredType| cols.is_multiple_of(ty.info().block);
    let stays = stays(&t.name, t.shape.len());
    let to = match () {
        () if stays => StoredType::F32,
        () if fits(target.ty) => target.ty,
        () if fits(target.fallback) => target.fallback,
        () => StoredType::F16,
    };
    Done {
        name: t.name.clone(),
        from: t.from,
        to,
        fallback: !stays && to != target.ty,
        squares: [0.0; 2],
    }
}
