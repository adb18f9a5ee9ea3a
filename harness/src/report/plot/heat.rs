//! Score by depth and length: a map a task and run.

use std::collections::{BTreeMap, BTreeSet};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Drawn, Figure, Plot, Theme, font};
use crate::report::data::{Run, length_label};

pub(super) struct Heat {
    lengths: Vec<usize>,
    depths: Vec<u32>,
    /// (mean, number of items) by (length, depth in percent).
    cells: BTreeMap<(usize, u32), (f64, usize)>,
}

/// A map for each task with at least two lengths and depths.
pub(super) fn plots(runs: &[Run]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        for task in run.tasks() {
            let cells: BTreeMap<_, _> = task
                .by_depth
                .iter()
                .filter_map(|(at, cell)| Some((*at, (cell.score?.mean, cell.n))))
                .collect();
            let lengths: BTreeSet<usize> = cells.keys().map(|k| k.0).collect();
            let depths: BTreeSet<u32> = cells.keys().map(|k| k.1).collect();
            if lengths.len() < 2 || depths.len() < 2 {
                continue;
            }
            let slug = task.name.replace('/', "-");
            let (suffix, whose) = match runs.len() {
                1 => (String::new(), String::new()),
                _ => (format!("-{}", i + 1), format!(", {}", run.label)),
            };
            plots.push(Plot {
                name: format!("heat-{slug}{suffix}"),
                title: format!("{} by depth and length{whose}", task.name),
                alt: format!(
                    "Score of {} at {} depths and {} lengths",
                    task.name,
                    depths.len(),
                    lengths.len()
                ),
                size: (
                    (210 + 74 * lengths.len() as u32).clamp(520, 1000),
                    130 + 30 * depths.len() as u32,
                ),
                figure: Figure::Heat(Heat {
                    lengths: lengths.into_iter().collect(),
                    depths: depths.into_iter().collect(),
                    cells,
                }),
            });
        }
    }
    plots
}

/// Viridis from 0 (dark violet) to 1 (yellow), by straight lines between five of its colours.
fn colour(score: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 5] = [
        [68.0, 1.0, 84.0],
        [59.0, 82.0, 139.0],
        [33.0, 145.0, 140.0],
        [94.0, 201.0, 98.0],
        [253.0, 231.0, 37.0],
    ];
    let x = score.clamp(0.0, 1.0) * 4.0;
    let i = (x as usize).min(3);
    let mix = |c: usize| (STOPS[i][c] + (x - i as f64) * (STOPS[i + 1][c] - STOPS[i][c])) as u8;
    RGBColor(mix(0), mix(1), mix(2))
}

impl Heat {
    pub fn draw<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        theme: &Theme,
    ) -> Drawn<DB> {
        let (width, height) = root.dim_in_pixel();
        let (x0, y0, x1, y1) = (84, 10, width as i32 - 84, height as i32 - 52);
        let (nx, ny) = (self.lengths.len() as i32, self.depths.len() as i32);
        let (left, centre) = (
            Pos::new(HPos::Right, VPos::Center),
            Pos::new(HPos::Center, VPos::Center),
        );
        let x = |i: i32| x0 + (x1 - x0) * i / nx;
        let y = |i: i32| y0 + (y1 - y0) * i / ny;
        for (j, depth) in self.depths.iter().enumerate() {
            let j = j as i32;
            let at = (x0 - 8, (y(j) + y(j + 1)) / 2);
            root.draw(&Text::new(
                format!("{depth} %"),
                at,
                font(12, theme).pos(left),
            ))?;
            for (i, length) in self.lengths.iter().enumerate() {
                let i = i as i32;
                let frame = [(x(i) + 1, y(j) + 1), (x(i + 1) - 1, y(j + 1) - 1)];
                let middle = ((x(i) + x(i + 1)) / 2, (y(j) + y(j + 1)) / 2);
                let Some((mean, _)) = self.cells.get(&(*length, *depth)) else {
                    root.draw(&Rectangle::new(frame, theme.grid.filled()))?;
                    continue;
                };
                root.draw(&Rectangle::new(frame, colour(*mean).filled()))?;
                let ink = if *mean > 0.6 {
                    RGBColor(20, 20, 20)
                } else {
                    WHITE
                };
                let style = ("sans-serif", 12).into_font().color(&ink).pos(centre);
                root.draw(&Text::new(format!("{:.0}", 100.0 * mean), middle, style))?;
            }
        }
        for (i, length) in self.lengths.iter().enumerate() {
            let i = i as i32;
            let at = ((x(i) + x(i + 1)) / 2, y1 + 12);
            root.draw(&Text::new(
                length_label(*length),
                at,
                font(12, theme).pos(centre),
            ))?;
        }
        let at = ((x0 + x1) / 2, y1 + 32);
        let items: Vec<usize> = self.cells.values().map(|c| c.1).collect();
        let (few, many) = (items.iter().min().copied(), items.iter().max().copied());
        let count = match (few, many) {
            (Some(a), Some(b)) if a == b => format!("{a} items a cell"),
            (Some(a), Some(b)) => format!("{a} to {b} items a cell"),
            _ => String::new(),
        };
        let text =
            format!("context length, tokens; rows: depth of the answer; score in %, {count}");
        root.draw(&Text::new(text, at, font(12, theme).pos(centre)))?;
        // Scale of colours.
        for i in 0..100 {
            let score = 1.0 - f64::from(i) / 100.0;
            let (top, bottom) = (y0 + (y1 - y0) * i / 100, y0 + (y1 - y0) * (i + 1) / 100);
            root.draw(&Rectangle::new(
                [(x1 + 18, top), (x1 + 32, bottom)],
                colour(score).filled(),
            ))?;
        }
        for (score, at) in [("100", y0), ("50", (y0 + y1) / 2), ("0", y1)] {
            let style = font(12, theme).pos(Pos::new(HPos::Left, VPos::Center));
            root.draw(&Text::new(score, (x1 + 38, at), style))?;
        }
        Ok(())
    }
}
