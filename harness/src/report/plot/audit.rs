//! An audit's evidence: divergence over position with what faults would make of it, and bets request by request.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Drawn, Figure, Plot, Theme, font, legend};
use crate::audit::session::Session;
use crate::audit::words::Audit;

/// A line with its name.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    observed: bool,
}

pub(super) struct Evidence {
    lines: Vec<Line>,
    x: &'static str,
    y: &'static str,
    /// Both ends of the upright axis; powers of ten where it is logarithmic.
    range: [f64; 2],
    level: Option<f64>,
    /// Labels of the level axis.
    labels: usize,
    logarithmic: bool,
}

/// Bins of a curve.
const BINS: usize = 24;
/// What is less than rounding leaves stands at the foot.
const FOOT: f64 = 1e-9;

/// The plots of an audit; none of its curves without numbers.
pub fn audit(audit: &Audit<'_>) -> Vec<Plot> {
    let mut plots = Vec::new();
    plots.extend(positions(audit));
    plots.extend(bets(audit));
    plots
}

/// Hypotheses worth a line: what the verdict names, then those that were nearest.
fn lines_of(audit: &Audit<'_>, most: usize) -> Vec<usize> {
    let session = audit.session;
    let mut all: Vec<usize> = (1..session.table.hypotheses.len()).collect();
    all.sort_by(|a, b| {
        let e = session.process.e_values();
        e[*a].total_cmp(&e[*b])
    });
    all.truncate(most);
    all
}

fn positions(audit: &Audit<'_>) -> Option<Plot> {
    let session = audit.session;
    let observed: Vec<(usize, f64)> = session
        .observed
        .iter()
        .flat_map(|(probe, told)| {
            let sound = &session.table.predicted[0][*probe];
            let n = session.table.probes[*probe].prompt_data();
            let values = told.values.iter().filter(move |(i, _)| *i < n);
            values.map(|(i, x)| (*i, 0.5 * (x - f64::from(sound[*i])).powi(2)))
        })
        .collect();
    let longest = observed.iter().map(|(i, _)| i + 1).max()?;
    let curve = |points: &[(usize, f64)]| -> Vec<(f64, f64)> {
        let mut bins = vec![(0.0, 0.0); BINS];
        for (i, d) in points.iter().filter(|p| p.1.is_finite()) {
            let bin = &mut bins[i * BINS / longest];
            bin.0 += d;
            bin.1 += 1.0;
        }
        let middle = |b: usize| (b as f64 + 0.5) * longest as f64 / BINS as f64;
        let there = bins.iter().enumerate().filter(|(_, b)| b.1 > 0.0);
        there
            .map(|(b, (sum, n))| (middle(b), (sum / n).max(FOOT)))
            .collect()
    };
    let predicted = |h: usize| -> Vec<(usize, f64)> {
        let probes = session.observed.iter().flat_map(|(probe, told)| {
            let [sound, faulty] = [0, h].map(|h| &session.table.predicted[h][*probe]);
            let n = session.table.probes[*probe].prompt_data();
            let places = told.values.iter().map(|(i, _)| *i).filter(move |i| *i < n);
            places.map(move |i| (i, 0.5 * f64::from(faulty[i] - sound[i]).powi(2)))
        });
        probes.collect()
    };
    let mut lines = vec![Line {
        name: "observed".into(),
        points: curve(&observed),
        observed: true,
    }];
    lines.extend(lines_of(audit, 3).into_iter().map(|h| Line {
        name: session.table.hypotheses[h].name.clone(),
        points: curve(&predicted(h)),
        observed: false,
    }));
    Some(Plot {
        name: "positions".into(),
        title: "Divergence from the reference over position, and what faults would make of it"
            .into(),
        alt: alt(&lines, "nats a token by position"),
        size: (860, 420),
        figure: Figure::Evidence(Evidence {
            range: [FOOT, top(&lines).max(1e-3) * 3.0],
            lines,
            x: "position",
            y: "half the mean square, nats a token",
            level: Some(audit.terms.margin),
            labels: 10,
            logarithmic: true,
        }),
    })
}

fn bets(audit: &Audit<'_>) -> Option<Plot> {
    let session = audit.session;
    let n = session.process.requests();
    let mut all = vec![0];
    all.extend(lines_of(audit, 5));
    let lines: Vec<Line> = all.into_iter().map(|h| line(session, h)).collect();
    (n > 0).then(|| Plot {
        name: "evidence".into(),
        title: "What a bet against each hypothesis is worth, request by request".into(),
        alt: alt(&lines, "log10 of the e-value by request"),
        size: (860, 420),
        figure: Figure::Evidence(Evidence {
            range: [0.0, top(&lines).max(3.0) * 1.1],
            lines,
            x: "requests",
            y: "log10 of the e-value",
            level: Some(-audit.terms.alpha.log10()),
            labels: (n + 1).min(12),
            logarithmic: false,
        }),
    })
}

fn line(session: &Session<'_>, h: usize) -> Line {
    let worth = session.process.history(h);
    let worth = worth.iter().enumerate();
    Line {
        name: session.table.hypotheses[h].name.clone(),
        points: std::iter::once((0.0, 0.0))
            .chain(worth.map(|(i, log)| ((i + 1) as f64, log / std::f64::consts::LN_10)))
            .collect(),
        observed: h == 0,
    }
}

fn top(lines: &[Line]) -> f64 {
    let heights = lines.iter().flat_map(|l| l.points.iter().map(|p| p.1));
    heights.fold(0.0, f64::max)
}

fn alt(lines: &[Line], what: &str) -> String {
    let ends = lines
        .iter()
        .filter_map(|l| Some(format!("{} {:.1e}", l.name, l.points.last()?.1)));
    format!(
        "{what}; at the end: {}",
        ends.collect::<Vec<_>>().join(", ")
    )
}

impl Evidence {
    pub fn draw<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        theme: &Theme,
    ) -> Drawn<DB> {
        let (width, _) = root.dim_in_pixel();
        let (plot, side) = root.split_horizontally(width.saturating_sub(210));
        let right = self
            .lines
            .iter()
            .flat_map(|l| &l.points)
            .map(|p| p.0)
            .fold(1.0, f64::max);
        let mut builder = ChartBuilder::on(&plot);
        builder
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(72);
        let [low, high] = self.range;
        // The two kinds of axis are two types.
        macro_rules! drawn {
            ($axis:expr) => {{
                let mut chart = builder.build_cartesian_2d(0.0..right, $axis)?;
                chart
                    .configure_mesh()
                    .x_desc(self.x)
                    .y_desc(self.y)
                    .y_label_formatter(&|y| match self.logarithmic {
                        true => format!("{y:.0e}"),
                        // Steps of a half are steps of a half.
                        false => format!("{}", (100.0 * y).round() / 100.0),
                    })
                    .x_labels(self.labels)
                    .x_label_formatter(&|x| format!("{x:.0}"))
                    .axis_style(theme.grid)
                    .bold_line_style(theme.grid)
                    .light_line_style(theme.background)
                    .label_style(font(12, theme))
                    .draw()?;
                if let Some(level) = self.level {
                    let ends = [(0.0, level), (right, level)];
                    chart.draw_series([PathElement::new(ends, theme.text.stroke_width(1))])?;
                }
                for (i, line) in self.lines.iter().enumerate() {
                    let colour = theme.series[i % theme.series.len()];
                    let stroke = colour.stroke_width(if line.observed { 3 } else { 1 });
                    let points = line.points.iter().map(|(x, y)| (*x, y.clamp(low, high)));
                    chart.draw_series(LineSeries::new(points.clone(), stroke))?;
                    chart.draw_series(points.map(|p| Circle::new(p, 3, colour.filled())))?;
                }
            }};
        }
        match self.logarithmic {
            true => drawn!((low..high).log_scale()),
            false => drawn!(low..high),
        }
        let entries = self.lines.iter().enumerate();
        let entries: Vec<(String, RGBColor)> = entries
            .map(|(i, l)| (l.name.clone(), theme.series[i % theme.series.len()]))
            .collect();
        legend(&side, &entries, theme)
    }
}
