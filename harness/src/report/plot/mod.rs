//! Plots, each drawn once and rendered as SVG (light and dark) and PNG.
//!
//! | file | draws |
//! |---|---|
//! | `audit.rs` | an audit's evidence, over position and request by request |
//! | `divergence.rs` | divergence from a reference over position |
//! | `quality.rs` | score over length, with intervals and controls |
//! | `heat.rs` | score by depth and length |
//! | `speed.rs` | speed, time to first token and memory over length |

mod audit;
mod divergence;
mod heat;
mod quality;
mod speed;

pub use speed::speed_over_length;

use std::path::Path;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::prelude::*;

pub use audit::audit;
pub use divergence::divergence;

use super::data::Run;
use crate::{Error, Result};

/// Colours of a plot.
pub struct Theme {
    /// Behind everything.
    pub background: RGBColor,
    /// Text and axes.
    pub text: RGBColor,
    /// Grid lines.
    pub grid: RGBColor,
    /// Lines, in order: Okabe and Ito's palette, told apart by the colour-blind.
    pub series: [RGBColor; 8],
}

/// On white.
pub const LIGHT: Theme = Theme {
    background: RGBColor(255, 255, 255),
    text: RGBColor(31, 35, 40),
    grid: RGBColor(225, 228, 232),
    series: [
        RGBColor(0, 114, 178),
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(170, 130, 0),
        RGBColor(86, 180, 233),
        RGBColor(120, 94, 160),
        RGBColor(90, 90, 90),
    ],
};

/// On near black.
pub const DARK: Theme = Theme {
    background: RGBColor(22, 27, 34),
    text: RGBColor(222, 226, 231),
    grid: RGBColor(52, 59, 68),
    series: [
        RGBColor(86, 180, 233),
        RGBColor(240, 140, 60),
        RGBColor(40, 200, 150),
        RGBColor(225, 150, 195),
        RGBColor(240, 228, 66),
        RGBColor(120, 160, 250),
        RGBColor(180, 150, 230),
        RGBColor(170, 170, 170),
    ],
};

/// A plot, not drawn yet.
pub struct Plot {
    /// File name without its ending.
    pub name: String,
    /// Title over the plot.
    pub title: String,
    /// What a reader who cannot see it is told.
    pub alt: String,
    size: (u32, u32),
    figure: Figure,
}

enum Figure {
    Divergence(divergence::Divergence),
    Evidence(audit::Evidence),
    Quality(quality::Quality),
    Heat(heat::Heat),
    Speed(speed::Speed),
}

/// Every plot of some runs: quality, heat maps, speed.
pub fn all(runs: &[Run]) -> Vec<Plot> {
    let mut plots = quality::plots(runs);
    plots.extend(heat::plots(runs));
    plots.extend(speed::plots(runs));
    plots
}

type Drawn<DB> = std::result::Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl Plot {
    /// The plot as an SVG document.
    ///
    /// # Errors
    /// The plotting library refuses (it has no reason to).
    pub fn svg(&self, theme: &Theme) -> Result<String> {
        let mut svg = String::new();
        self.draw(
            &SVGBackend::with_string(&mut svg, self.size).into_drawing_area(),
            theme,
        )
        .map_err(|e| Error::Unfinished(format!("{}.svg: {e}", self.name)))?;
        Ok(svg)
    }

    /// Writes the plot as a PNG file, light.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let root = BitMapBackend::new(path, self.size).into_drawing_area();
        self.draw(&root, &LIGHT)
            .map_err(|e| Error::write(path, std::io::Error::other(e.to_string())))
    }

    fn draw<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>, theme: &Theme) -> Drawn<DB> {
        register_fonts();
        root.fill(&theme.background)?;
        let root = root.titled(&self.title, font(19, theme))?;
        match &self.figure {
            Figure::Divergence(d) => d.draw(&root, theme)?,
            Figure::Evidence(e) => e.draw(&root, theme)?,
            Figure::Quality(q) => q.draw(&root, theme)?,
            Figure::Heat(h) => h.draw(&root, theme)?,
            Figure::Speed(s) => s.draw(&root, theme)?,
        }
        root.present()
    }
}

/// The font is part of the program: plots look the same on a machine without any.
pub fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A refusal would show as an error of the first text that is drawn.
        let _ = plotters::style::register_font(
            "sans-serif",
            FontStyle::Normal,
            dejavu::sans::regular(),
        );
    });
}

fn font<'a>(size: u32, theme: &Theme) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&theme.text)
}

/// A legend of coloured marks, from the top of `area` down.
fn legend<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    entries: &[(String, RGBColor)],
    theme: &Theme,
) -> Drawn<DB> {
    for (i, (label, colour)) in entries.iter().enumerate() {
        let y = 14 + 22 * i as i32;
        area.draw(&PathElement::new([(4, y), (24, y)], colour.stroke_width(3)))?;
        area.draw(&Circle::new((14, y), 4, colour.filled()))?;
        for (line, part) in wrap(label, 24).iter().enumerate().take(1) {
            area.draw(&Text::new(
                part.clone(),
                (30, y - 7 + 12 * line as i32),
                font(13, theme),
            ))?;
        }
    }
    Ok(())
}

/// A label in at most `n` characters, its middle left out.
fn wrap(label: &str, n: usize) -> Vec<String> {
    let chars: Vec<char> = label.chars().collect();
    if chars.len() <= n {
        return vec![label.to_owned()];
    }
    let (head, tail) = (n / 2, n - n / 2 - 1);
    let start: String = chars[..head].iter().collect();
    let end: String = chars[chars.len() - tail..].iter().collect();
    vec![format!("{start}…{end}")]
}
