//! From the files of runs to something a person reads. Nothing here executes a model.
//!
//! | file | holds |
//! |---|---|
//! | `data.rs` | runs as the report needs them: cells, speeds, failures |
//! | `words.rs` | the questions answered in plain words |
//! | `html.rs` | `report.html`, one file, nothing from elsewhere |
//! | `markdown.rs` | `report.md`, fit for a pull request |
//! | `tables.rs` | `cells.csv` |
//! | `plot/` | quality, heat map and speed, as SVG and PNG |

pub mod data;
mod html;
mod markdown;
pub mod plot;
mod tables;
pub mod words;

pub use markdown::escaped;

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Renders one run, or several drawn together, into `out`: `report.html`, `report.md`, `cells.csv` and every
/// plot as SVG and PNG. Returns the path of `report.html`.
///
/// # Errors
/// A folder that is no run, or that cannot be read or written.
pub fn render(runs: &[PathBuf], out: &Path) -> Result<PathBuf> {
    let runs = runs
        .iter()
        .map(|dir| data::Run::load(dir))
        .collect::<Result<Vec<_>>>()?;
    std::fs::create_dir_all(out).map_err(|e| Error::write(out, e))?;
    let plots = plot::all(&runs);
    for plot in &plots {
        plot.write_png(&out.join(format!("{}.png", plot.name)))?;
        write(
            &out.join(format!("{}.svg", plot.name)),
            plot.svg(&plot::LIGHT)?.as_bytes(),
        )?;
    }
    write(
        &out.join("report.md"),
        markdown::render(&runs, &plots).as_bytes(),
    )?;
    write(&out.join("cells.csv"), &tables::cells_csv(&runs)?)?;
    let path = out.join("report.html");
    write(&path, html::render(&runs, &plots)?.as_bytes())?;
    Ok(path)
}

/// Writes a file under another name first, so that a reader never sees half of it.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).map_err(|e| Error::write(&new, e))?;
    std::fs::rename(&new, path).map_err(|e| Error::write(path, e))
}
