//! Speed over length: prefill, decoding, time to the first token and memory, a line a run.

use std::collections::BTreeSet;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Drawn, Figure, Plot, Theme, font, legend};
use crate::record::SpeedRow;
use crate::report::data::{Run, length_label};

pub(super) struct Speed {
    lengths: Vec<usize>,
    runs: Vec<(String, Vec<SpeedRow>)>,
}

type Panel = (&'static str, fn(&SpeedRow) -> f64);

/// In place of memory, where all that was measured is an API.
const AGAIN: Panel = ("first token of the same prompt again, seconds", |r| {
    r.warm_first_token_s.unwrap_or(0.0)
});

const PANELS: [Panel; 4] = [
    ("prefill, tokens a second", |r| r.prefill_tokens_per_s),
    ("decoding, tokens a second", |r| r.decode_tokens_per_s),
    ("time to the first token, seconds", |r| r.first_token_s),
    ("keys and values, MiB", |r| {
        r.cache_bytes as f64 / f64::from(1 << 20)
    }),
];

pub(super) fn plots(runs: &[Run]) -> Vec<Plot> {
    let measured = runs.iter().filter(|r| !r.speed.is_empty());
    let runs = measured.map(|r| (r.label.clone(), r.speed.clone()));
    speed_over_length(runs.collect()).into_iter().collect()
}

/// Speed over length of some measurements, each with its label; `None` when there are none.
pub fn speed_over_length(runs: Vec<(String, Vec<SpeedRow>)>) -> Option<Plot> {
    let lengths: BTreeSet<usize> = runs
        .iter()
        .flat_map(|r| r.1.iter().map(|s| s.context))
        .collect();
    if lengths.is_empty() {
        return None;
    }
    let alt = runs.iter().map(|(label, rows)| {
        let rows = rows.iter().map(|r| {
            format!(
                "{}: {:.0} and {:.0}",
                length_label(r.context),
                r.prefill_tokens_per_s,
                r.decode_tokens_per_s
            )
        });
        format!(
            "{label}, prefill and decoding in tokens a second: {}",
            rows.collect::<Vec<_>>().join(", ")
        )
    });
    Some(Plot {
        name: "speed".into(),
        title: "Speed over context length".into(),
        alt: alt.collect::<Vec<_>>().join("; "),
        size: (940, 560),
        figure: Figure::Speed(Speed {
            lengths: lengths.into_iter().collect(),
            runs,
        }),
    })
}

impl Speed {
    pub fn draw<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        theme: &Theme,
    ) -> Drawn<DB> {
        let (width, height) = root.dim_in_pixel();
        let several = self.runs.len() > 1;
        let legend_height = if several {
            22 * self.runs.len() as i32 + 8
        } else {
            0
        };
        let (area, below) = root.split_vertically(height as i32 - legend_height);
        let mut rows = self.runs.iter().flat_map(|r| &r.1);
        let mut panels = PANELS;
        if rows.all(|row| row.warm_first_token_s.is_some()) {
            panels[3] = AGAIN;
        }
        for (panel, (name, value)) in area.split_evenly((2, 2)).iter().zip(panels) {
            self.panel(panel, name, value, theme)?;
        }
        if several {
            let colours = theme.series.iter().copied().cycle();
            let entries: Vec<_> = self.runs.iter().map(|r| r.0.clone()).zip(colours).collect();
            let (_, right) = below.split_horizontally(width as i32 / 12);
            legend(&right, &entries, theme)?;
        }
        Ok(())
    }

    fn panel<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        name: &str,
        value: fn(&SpeedRow) -> f64,
        theme: &Theme,
    ) -> Drawn<DB> {
        let top = self
            .runs
            .iter()
            .flat_map(|r| r.1.iter().map(value))
            .fold(0.0, f64::max);
        let top = if top > 0.0 { 1.12 * top } else { 1.0 };
        let n = self.lengths.len() as i32;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .caption(name, font(14, theme))
            .x_label_area_size(26)
            .y_label_area_size(62)
            .build_cartesian_2d((0..n - 1).with_key_points((0..n).collect()), 0.0..top)?;
        let label = |i: &i32| {
            self.lengths
                .get(*i as usize)
                .map_or_else(String::new, |n| length_label(*n))
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(self.lengths.len())
            .x_label_formatter(&label)
            .y_labels(5)
            .y_label_formatter(&|y| number(*y))
            .axis_style(theme.grid)
            .bold_line_style(theme.grid)
            .light_line_style(theme.background)
            .label_style(font(12, theme))
            .draw()?;
        for ((_, rows), colour) in self.runs.iter().zip(theme.series.iter().copied().cycle()) {
            let points = rows.iter().filter_map(|row| {
                let place = self.lengths.iter().position(|n| *n == row.context)?;
                Some((place as i32, value(row)))
            });
            let points: Vec<_> = points.collect();
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            chart.draw_series(points.iter().map(|p| Circle::new(*p, 4, colour.filled())))?;
        }
        Ok(())
    }
}

/// A number short enough for an axis.
fn number(y: f64) -> String {
    match y {
        _ if y >= 10_000.0 => format!("{:.0}k", y / 1000.0),
        _ if y >= 10.0 || y == 0.0 => format!("{y:.0}"),
        _ if y >= 1.0 => format!("{y:.1}"),
        _ => format!("{y:.2}"),
    }
}
