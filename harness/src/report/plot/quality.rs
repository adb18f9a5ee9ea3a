//! Score over length: one line a task (of one run) or a run (of several), intervals, controls, chance.

use std::collections::BTreeSet;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Drawn, Figure, Plot, Theme, font, legend};
use crate::report::data::{Run, TaskCells, length_label};
use crate::stats::Cell;

/// Lines that one plot can tell apart.
const LINES: usize = 8;

pub(super) struct Quality {
    /// Names of the places on the horizontal axis; the first `controls` of them are no lengths.
    places: Vec<String>,
    controls: usize,
    lines: Vec<Line>,
    /// Place after which the length is beyond what the model was trained for.
    trained: Option<usize>,
}

struct Line {
    label: String,
    chance: f64,
    /// (place, mean, low, high, marked).
    points: Vec<(usize, f64, f64, f64, bool)>,
}

/// For one run: a plot of up to eight tasks. For several: a plot a task, a line a run.
pub(super) fn plots(runs: &[Run]) -> Vec<Plot> {
    let tasks: Vec<Vec<TaskCells>> = runs.iter().map(Run::tasks).collect();
    let groups: Vec<(String, Vec<(String, &TaskCells)>)> = if let [tasks] = tasks.as_slice() {
        let named: Vec<_> = tasks.iter().map(|t| (t.name.clone(), t)).collect();
        let single = named.len() <= LINES;
        let title = |i: usize| {
            if single {
                String::new()
            } else {
                format!(" ({})", i + 1)
            }
        };
        named
            .chunks(LINES)
            .enumerate()
            .map(|(i, part)| (title(i), part.to_vec()))
            .collect()
    } else {
        let names: BTreeSet<&str> = tasks.iter().flatten().map(|t| t.name.as_str()).collect();
        let line = |name: &str| {
            runs.iter()
                .zip(&tasks)
                .filter_map(|(run, t)| {
                    Some((run.label.clone(), t.iter().find(|t| t.name == name)?))
                })
                .take(LINES)
                .collect()
        };
        names
            .into_iter()
            .map(|name| (format!(": {name}"), line(name)))
            .collect()
    };
    let trained = runs.iter().filter_map(Run::trained_length).min();
    let plot = |(title, lines): (String, Vec<(String, &TaskCells)>)| {
        let figure = figure(&lines, trained)?;
        let slug: String = title
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let slug = slug.trim_matches('-');
        Some(Plot {
            name: if slug.is_empty() {
                "quality".into()
            } else {
                format!("quality-{slug}")
            },
            title: format!("Quality over context length{title}"),
            alt: alt(&figure),
            size: (940, 440),
            figure: Figure::Quality(figure),
        })
    };
    groups.into_iter().filter_map(plot).collect()
}

fn figure(lines: &[(String, &TaskCells)], trained: Option<usize>) -> Option<Quality> {
    let lengths: BTreeSet<usize> = lines
        .iter()
        .flat_map(|(_, t)| t.lengths.iter().map(|(n, _)| *n))
        .collect();
    let lengths: Vec<usize> = lengths.into_iter().collect();
    let has_none = lines.iter().any(|(_, t)| t.none.is_some());
    let has_short = lines.iter().any(|(_, t)| t.short.is_some());
    let mut places = Vec::new();
    places.extend(has_none.then(|| "no context".to_owned()));
    places.extend(has_short.then(|| "evidence only".to_owned()));
    let controls = places.len();
    places.extend(lengths.iter().map(|n| length_label(*n)));
    if places.is_empty() {
        return None;
    }
    let place = |n: usize| lengths.iter().position(|l| *l == n).map(|i| i + controls);
    let line = |(label, task): &(String, &TaskCells)| {
        let mut cells: Vec<(usize, &Cell)> = Vec::new();
        cells.extend(task.none.iter().map(|c| (0, c)));
        cells.extend(task.short.iter().map(|c| (usize::from(has_none), c)));
        cells.extend(
            task.lengths
                .iter()
                .filter_map(|(n, c)| Some((place(*n)?, c))),
        );
        let points = cells.iter().filter_map(|(place, c)| {
            let s = c.score?;
            Some((*place, s.mean, s.low, s.high, c.marked()))
        });
        let chances: Vec<f64> = cells.iter().map(|(_, c)| c.chance).collect();
        Line {
            label: label.clone(),
            chance: chances.iter().copied().fold(0.0, f64::max),
            points: points.collect(),
        }
    };
    let longest = lengths
        .iter()
        .rposition(|n| trained.is_some_and(|t| *n <= t));
    Some(Quality {
        controls,
        lines: lines.iter().map(line).collect(),
        trained: longest
            .map(|i| i + controls)
            .filter(|i| i + 1 < places.len()),
        places,
    })
}

fn alt(figure: &Quality) -> String {
    let lines = figure.lines.iter().map(|line| {
        let points = line
            .points
            .iter()
            .map(|(place, mean, ..)| format!("{} {:.0} %", figure.places[*place], 100.0 * mean));
        format!("{}: {}", line.label, points.collect::<Vec<_>>().join(", "))
    });
    lines.collect::<Vec<_>>().join("; ")
}

impl Quality {
    pub fn draw<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        theme: &Theme,
    ) -> Drawn<DB> {
        let (width, _) = root.dim_in_pixel();
        let (left, right) = root.split_horizontally(width as i32 - 215);
        let n = self.places.len() as f64;
        let mut chart = ChartBuilder::on(&left)
            .margin(8)
            .x_label_area_size(46)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.5..n - 0.5, 0.0..1.03)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(6)
            .y_label_formatter(&|y| format!("{:.0} %", 100.0 * y))
            .y_desc("score, 95 % interval")
            .axis_style(theme.grid)
            .bold_line_style(theme.grid)
            .light_line_style(theme.background)
            .label_style(font(13, theme))
            .draw()?;
        let plane = chart.plotting_area();
        // Names below the axis, in pixels: the places are no numbers.
        let names = font(13, theme).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        let (origin_x, origin_y) = left.get_base_pixel();
        for (i, name) in self.places.iter().enumerate() {
            let (x, y) = plane.map_coordinate(&(i as f64, 0.0));
            left.draw(&Text::new(
                name.clone(),
                (x - origin_x, y - origin_y + 8),
                names.clone(),
            ))?;
        }
        let (x, y) = plane.map_coordinate(&((n - 1.0) / 2.0, 0.0));
        left.draw(&Text::new(
            "context length, tokens",
            (x - origin_x, y - origin_y + 28),
            names.clone(),
        ))?;
        if self.controls > 0 {
            let x = self.controls as f64 - 0.5;
            plane.draw(&PathElement::new(
                [(x, 0.0), (x, 1.03)],
                theme.grid.stroke_width(1),
            ))?;
        }
        if let Some(place) = self.trained {
            let x = place as f64 + 0.5;
            let line = [(x, 0.0), (x, 1.03)];
            chart.draw_series(DashedLineSeries::new(
                line,
                5,
                4,
                theme.text.mix(0.6).stroke_width(1),
            ))?;
            let style = font(12, theme);
            chart
                .plotting_area()
                .draw(&Text::new("beyond training", (x + 0.04, 1.02), style))?;
        }
        let colours = theme.series.iter().copied().cycle();
        let spread = 0.16 / self.lines.len().max(1) as f64;
        let mut entries = Vec::new();
        for (i, (line, colour)) in self.lines.iter().zip(colours).enumerate() {
            let shift = (i as f64 - (self.lines.len() as f64 - 1.0) / 2.0) * spread;
            let at = |place: usize| place as f64 + shift;
            let ends = [
                (self.controls as f64 - 0.5, line.chance),
                (n - 0.5, line.chance),
            ];
            chart.draw_series(DashedLineSeries::new(
                ends,
                2,
                5,
                colour.mix(0.75).stroke_width(1),
            ))?;
            let lengths = line.points.iter().filter(|p| p.0 >= self.controls);
            chart.draw_series(LineSeries::new(
                lengths.map(|p| (at(p.0), p.1)),
                colour.stroke_width(2),
            ))?;
            for &(place, mean, low, high, marked) in &line.points {
                let bar = [(at(place), low), (at(place), high)];
                chart
                    .plotting_area()
                    .draw(&PathElement::new(bar, colour.mix(0.7).stroke_width(2)))?;
                let fill = if marked {
                    theme.background.filled()
                } else {
                    colour.filled()
                };
                chart
                    .plotting_area()
                    .draw(&Circle::new((at(place), mean), 4, fill))?;
                chart.plotting_area().draw(&Circle::new(
                    (at(place), mean),
                    4,
                    colour.stroke_width(2),
                ))?;
            }
            entries.push((line.label.clone(), colour));
        }
        legend(&right, &entries, theme)?;
        let note = 30 + 22 * entries.len() as i32;
        right.draw(&Text::new(
            "dotted: what a guess scores",
            (4, note),
            font(12, theme),
        ))?;
        if self.lines.iter().flat_map(|l| &l.points).any(|p| p.4) {
            let text = "hollow: over 5 % unanswered";
            right.draw(&Text::new(text, (4, note + 18), font(12, theme)))?;
        }
        Ok(())
    }
}
