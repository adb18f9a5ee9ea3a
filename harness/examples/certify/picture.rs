//! The confusion matrix as a picture.

use std::path::Path;

use anyhow::Result;
use fathom_harness::report::plot::register_fonts;

use crate::Ended;

/// Truths down, what was said across; the share of a truth's endpoints as shade and number.
pub fn draw(path: &Path, ended: &[Ended]) -> Result<()> {
    use plotters::prelude::*;
    let names = |of: &dyn Fn(&Ended) -> &str| -> Vec<String> {
        let all: std::collections::BTreeSet<&str> = ended.iter().map(of).collect();
        all.into_iter().map(str::to_owned).collect()
    };
    let (truths, words) = (names(&|e| &e.truth), names(&|e| &e.said));
    let (left, top, cell, line) = (180, 150, 58, 26);
    let size = (
        left + cell * words.len() as i32 + 20,
        top + line * truths.len() as i32 + 20,
    );
    register_fonts();
    let root = BitMapBackend::new(path, (size.0 as u32, size.1 as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let font = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    root.draw_text(
        "truth down, verdict across: % of endpoints",
        &font(15),
        (8, 8),
    )?;
    for (column, said) in words.iter().enumerate() {
        let upright = font(13).transform(FontTransform::Rotate270);
        root.draw_text(said, &upright, (left + cell * column as i32 + 20, top - 8))?;
    }
    for (row, truth) in truths.iter().enumerate() {
        let y = top + line * row as i32;
        root.draw_text(truth, &font(13), (8, y + 5))?;
        let of = || ended.iter().filter(|e| e.truth == *truth);
        for (column, said) in words.iter().enumerate() {
            let share = of().filter(|e| e.said == *said).count() as f64 / of().count() as f64;
            let x = left + cell * column as i32;
            let corners = [(x, y), (x + cell - 2, y + line - 2)];
            root.draw(&Rectangle::new(
                corners,
                RGBColor(0, 114, 178).mix(0.05 + 0.6 * share).filled(),
            ))?;
            if share > 0.0 {
                root.draw_text(&format!("{:.0}", 100.0 * share), &font(13), (x + 16, y + 5))?;
            }
        }
    }
    root.present()?;
    Ok(())
}
