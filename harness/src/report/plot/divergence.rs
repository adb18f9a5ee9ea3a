//! Divergence over position: the mean of each bin with its interval, and the knees.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Drawn, Figure, Plot, Theme, font};
use crate::divergence::curve::Bin;
use crate::divergence::knees::{FLOOR, Knee};

pub(super) struct Divergence {
    bins: Vec<Bin>,
    knees: Vec<Knee>,
}

/// The curve of a comparison.
pub fn divergence(bins: &[Bin], knees: &[Knee]) -> Plot {
    let points = bins
        .iter()
        .map(|b| format!("{}: {:.1e}", b.from, b.kl.mean));
    let points = points.collect::<Vec<_>>().join(", ");
    Plot {
        name: "divergence".into(),
        title: "Divergence from the reference over position".into(),
        alt: format!("KL in nats from each position on: {points}"),
        size: (860, 420),
        figure: Figure::Divergence(Divergence {
            bins: bins.to_vec(),
            knees: knees.to_vec(),
        }),
    }
}

impl Divergence {
    pub fn draw<DB: DrawingBackend>(
        &self,
        root: &DrawingArea<DB, Shift>,
        theme: &Theme,
    ) -> Drawn<DB> {
        // A logarithmic axis has no 0: what is less than rounding leaves stands at its foot.
        let height = |kl: f64| kl.clamp(FLOOR, 1e3);
        let top = self
            .bins
            .iter()
            .map(|b| height(b.kl.high))
            .fold(1e-3, f64::max);
        let from = self.bins.first().map_or(0, |b| b.from);
        let to = self.bins.last().map_or(1, |b| b.to);
        let mut chart = ChartBuilder::on(root)
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(72)
            .build_cartesian_2d(from..to, (FLOOR..3.0 * top).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("position")
            .y_desc("KL, nats a token")
            .y_label_formatter(&|y| format!("{y:.0e}"))
            .axis_style(theme.grid)
            .bold_line_style(theme.grid)
            .light_line_style(theme.background)
            .label_style(font(12, theme))
            .draw()?;
        let colour = theme.series[0];
        chart.draw_series(self.bins.iter().map(|b| {
            let corners = [(b.from, height(b.kl.low)), (b.to, height(b.kl.high))];
            Rectangle::new(corners, colour.mix(0.25).filled())
        }))?;
        chart.draw_series(self.bins.iter().map(|b| {
            let mean = height(b.kl.mean);
            PathElement::new([(b.from, mean), (b.to, mean)], colour.stroke_width(2))
        }))?;
        for knee in &self.knees {
            let ends = [(knee.position, FLOOR), (knee.position, 3.0 * top)];
            chart.draw_series([PathElement::new(ends, theme.series[1].stroke_width(1))])?;
            let label = format!("from {} on", knee.position);
            let place = (knee.position, 2.0 * top);
            chart.draw_series([Text::new(label, place, font(12, theme))])?;
        }
        Ok(())
    }
}
