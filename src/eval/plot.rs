//! Pictures of an evaluation, as SVG: precision against recall, quality against latency, and how the
//! scores of relevant documents lie beside those of others.
//!
//! Each picture says by itself what it shows: axes with units, a legend, how many queries. The
//! colours can be told apart by people who see few of them (Okabe and Ito, 2008).

use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::{Evaluation, Measure, Qrels, Run};
use crate::error::{Error, Result};

/// Width and height of a picture, in pixels.
const SIZE: (u32, u32) = (760, 480);
/// Height of one distribution.
const PANEL: u32 = 190;
/// Bars of a distribution.
const BINS: usize = 30;
/// Levels of recall at which precision is shown, from 0 to 1.
const LEVELS: usize = 21;
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const FONT: &str = "sans-serif";

/// What one way of asking gave.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What it is called in the pictures.
    pub name: String,
    /// The rankings.
    pub run: Run,
    /// Their measures.
    pub evaluation: Evaluation,
    /// Milliseconds that each query took, one after the other.
    pub milliseconds: Vec<f64>,
}

/// Writes `precision-recall.svg`, `quality-latency.svg` and `scores.svg` into a folder, and says
/// where.
///
/// # Errors
/// An operator's error where the folder cannot be written.
pub fn plot(folder: &Path, qrels: &Qrels, answered: &[Answered]) -> Result<Vec<PathBuf>> {
    let pictures = [
        ("precision-recall.svg", precision_recall(qrels, answered)),
        ("quality-latency.svg", quality_latency(answered)),
        ("scores.svg", scores(qrels, answered)),
    ];
    let failed =
        |e| Error::operator_from(format!("cannot write pictures to {}", folder.display()), e);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut written = Vec::new();
    for (name, picture) in pictures {
        let path = folder.join(name);
        std::fs::write(&path, picture?).map_err(failed)?;
        written.push(path);
    }
    Ok(written)
}

/// Mean over queries of the highest precision at each level of recall or any above it
/// (`trec_eval`'s `iprec_at_recall`).
///
/// Queries count as in [`evaluate`](super::evaluate).
pub fn interpolated_precision(qrels: &Qrels, run: &Run, levels: usize) -> Vec<f64> {
    let mut means = vec![0.0; levels];
    let mut queries = 0_u32;
    for (query, judged) in qrels.iter() {
        let relevant = judged.values().filter(|&&gain| gain > 0).count();
        if relevant == 0 {
            continue;
        }
        queries += 1;
        // Precision at the rank of each relevant document, by how many are found there.
        let mut found = 0_usize;
        let mut seen = std::collections::HashSet::new();
        let mut precisions = Vec::new();
        for hit in run.get(query) {
            if !seen.insert(hit.document.as_str()) {
                continue;
            }
            if judged.get(&hit.document).is_some_and(|&gain| gain > 0) {
                found += 1;
                precisions.push(found as f64 / seen.len() as f64);
            }
        }
        for at in (1..precisions.len()).rev() {
            precisions[at - 1] = precisions[at - 1].max(precisions[at]);
        }
        for (level, mean) in means.iter_mut().enumerate() {
            let wanted = level as f64 / (levels - 1).max(1) as f64;
            // As few as reach it: the first of none is the first.
            let needed = ((wanted * relevant as f64) - 1e-9).ceil().max(1.0) as usize;
            *mean += precisions.get(needed - 1).copied().unwrap_or(0.0);
        }
    }
    for mean in &mut means {
        *mean /= f64::from(queries.max(1));
    }
    means
}

fn precision_recall(qrels: &Qrels, answered: &[Answered]) -> Result<String> {
    let queries = answered.first().map_or(0, |a| a.evaluation.queries.len());
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawn)?;
        let title = format!("Precision at each recall, {queries} queries");
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 18))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(54)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)
            .map_err(drawn)?;
        chart
            .configure_mesh()
            .x_desc("recall")
            .y_desc("interpolated precision")
            .max_light_lines(1)
            .bold_line_style(BLACK.mix(0.15))
            .draw()
            .map_err(drawn)?;
        for (one, color) in answered.iter().zip(COLORS.iter().cycle()) {
            let curve = interpolated_precision(qrels, &one.run, LEVELS);
            let points = curve
                .into_iter()
                .enumerate()
                .map(|(level, precision)| (level as f64 / (LEVELS - 1) as f64, precision));
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))
                .map_err(drawn)?
                .label(one.name.as_str())
                .legend(|(x, y)| {
                    PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.9))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 14))
            .draw()
            .map_err(drawn)?;
        area.present().map_err(drawn)?;
    }
    Ok(svg)
}

fn quality_latency(answered: &[Answered]) -> Result<String> {
    let measure = Measure::Ndcg(10);
    let points: Vec<(&str, f64, f64, f64)> = answered
        .iter()
        .map(|one| {
            let quality = one.evaluation.mean(measure).unwrap_or(0.0);
            let (half, most) = (
                percentile(&one.milliseconds, 0.5),
                percentile(&one.milliseconds, 0.95),
            );
            (one.name.as_str(), half, most, quality)
        })
        .collect();
    let slowest = points.iter().map(|point| point.2).fold(0.1, f64::max);
    let fastest = points.iter().map(|point| point.1).fold(slowest, f64::min);
    let (low, high) = points
        .iter()
        .fold((1.0_f64, 0.0_f64), |(low, high), point| {
            (low.min(point.3), high.max(point.3))
        });
    let room = ((high - low) * 0.25).max(0.02);
    let (low, high) = ((low - room).max(0.0), (high + room).min(1.0));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawn)?;
        let title = format!("{measure} and milliseconds a query, median to 95th percentile");
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 18))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(
                (fastest.max(0.01) * 0.6..slowest * 1.8).log_scale(),
                low..high,
            )
            .map_err(drawn)?;
        chart
            .configure_mesh()
            .x_desc("milliseconds, one query after the other")
            .x_labels(5)
            .y_desc(measure.to_string())
            .y_label_formatter(&|value| format!("{value:.2}"))
            .x_label_formatter(&|value| match *value < 1.0 {
                true => format!("{value:.2}"),
                false => format!("{value:.0}"),
            })
            .max_light_lines(1)
            .bold_line_style(BLACK.mix(0.15))
            .draw()
            .map_err(drawn)?;
        for ((name, half, most, quality), color) in points.iter().zip(COLORS.iter().cycle()) {
            let half = half.max(0.01);
            let line = [(half, *quality), (most.max(half), *quality)];
            chart
                .draw_series(LineSeries::new(line, color.stroke_width(2)))
                .map_err(drawn)?;
            chart
                .draw_series([Circle::new((half, *quality), 5, color.filled())])
                .map_err(drawn)?;
            let label = format!("{name} {quality:.3}");
            chart
                .draw_series([EmptyElement::at((half, *quality))
                    + Text::new(label, (8, -18), (FONT, 14).into_font().color(color))])
                .map_err(drawn)?;
        }
        area.present().map_err(drawn)?;
    }
    Ok(svg)
}

/// Scores of hits that are relevant, and of those that are not: as shares of each.
fn scores(qrels: &Qrels, answered: &[Answered]) -> Result<String> {
    let mut svg = String::new();
    let height = PANEL * answered.len().max(1) as u32;
    {
        let area = SVGBackend::with_string(&mut svg, (SIZE.0, height)).into_drawing_area();
        area.fill(&WHITE).map_err(drawn)?;
        let panels = area.split_evenly((answered.len().max(1), 1));
        for (panel, one) in panels.iter().zip(answered) {
            distribution(panel, qrels, one)?;
        }
        area.present().map_err(drawn)?;
    }
    Ok(svg)
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn distribution(panel: &Panel<'_>, qrels: &Qrels, one: &Answered) -> Result<()> {
    let (mut relevant, mut others) = (Vec::new(), Vec::new());
    for (query, judged) in qrels.iter() {
        for hit in one
            .run
            .get(query)
            .iter()
            .filter(|hit| hit.score.is_finite())
        {
            match judged.get(&hit.document).is_some_and(|&gain| gain > 0) {
                true => relevant.push(hit.score),
                false => others.push(hit.score),
            }
        }
    }
    let all = || relevant.iter().chain(&others).copied();
    let (low, high) = (
        all().fold(f64::INFINITY, f64::min),
        all().fold(f64::NEG_INFINITY, f64::max),
    );
    let (low, high) = match low < high {
        true => (low, high),
        false => (0.0, 1.0),
    };
    let (of_relevant, of_others) = (shares(&relevant, low, high), shares(&others, low, high));
    let most = of_relevant.iter().chain(&of_others).copied();
    let most = most.fold(0.01, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("Scores: {}", one.name), (FONT, 16))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(54)
        .build_cartesian_2d(low..high, 0.0..most * 1.1)
        .map_err(drawn)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .y_desc("share of hits")
        .y_labels(4)
        .light_line_style(BLACK.mix(0.0))
        .bold_line_style(BLACK.mix(0.15))
        .draw()
        .map_err(drawn)?;
    let width = (high - low) / BINS as f64;
    let series = [
        (
            &of_others,
            RGBColor(120, 120, 120),
            others.len(),
            "not judged relevant",
        ),
        (&of_relevant, COLORS[0], relevant.len(), "relevant"),
    ];
    for (bars, color, count, name) in series {
        let style = color.mix(0.55);
        chart
            .draw_series(bars.iter().enumerate().map(|(bin, share)| {
                let from = low + bin as f64 * width;
                Rectangle::new([(from, 0.0), (from + width, *share)], style.filled())
            }))
            .map_err(drawn)?
            .label(format!("{name} ({count})"))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], style.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 13))
        .draw()
        .map_err(drawn)
}

/// The share of values in each of [`BINS`] equal ranges.
fn shares(values: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut bins = vec![0.0; BINS];
    for value in values {
        let at = (value - low) / (high - low) * BINS as f64;
        bins[(at as usize).min(BINS - 1)] += 1.0 / values.len() as f64;
    }
    bins
}

/// A percentile of values, by the nearest rank; 0 of none.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// A picture is a string in memory: what cannot be drawn was given wrongly.
fn drawn<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> Error {
    Error::Bug(format!("a picture cannot be drawn: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::Hit;
    use super::*;

    fn world() -> (Qrels, Run) {
        let mut qrels = Qrels::default();
        for (query, document, gain) in [
            ("q", "a", 1),
            ("q", "b", 2),
            ("q", "c", 0),
            ("r", "a", 1),
            ("s", "a", 0),
        ] {
            qrels.insert(query, document, gain);
        }
        let hits = |names: &[&str]| {
            let hits = names.iter().enumerate();
            hits.map(|(n, name)| Hit {
                document: (*name).into(),
                score: 1.0 / (n + 1) as f64,
            })
            .collect()
        };
        let mut run = Run::default();
        run.insert("q", hits(&["a", "c", "b"]));
        run.insert("r", hits(&["b", "a"]));
        (qrels, run)
    }

    #[test]
    fn precision_is_interpolated_as_trec_eval_does() {
        let (qrels, run) = world();
        // q: 1 up to half of the recall, 2/3 up to all of it; r: 1/2 all the way; s is none.
        let found = interpolated_precision(&qrels, &run, 11);
        let expected = |q: f64| (q + 0.5) / 2.0;
        for (level, found) in found.iter().enumerate() {
            let q = if level <= 5 { 1.0 } else { 2.0 / 3.0 };
            assert!((found - expected(q)).abs() < 1e-12, "{level}: {found}");
        }
    }

    #[test]
    fn pictures_name_what_they_show() {
        let (qrels, run) = world();
        let evaluation = super::super::evaluate(&qrels, &run, &Measure::USUAL);
        let one = |name: &str| Answered {
            name: name.into(),
            run: run.clone(),
            evaluation: evaluation.clone(),
            milliseconds: vec![1.0, 30.0],
        };
        let folder = tempfile::tempdir().unwrap();
        let written = plot(folder.path(), &qrels, &[one("words"), one("a <b> & c")]).unwrap();
        assert_eq!(written.len(), 3);
        for path in written {
            let svg = std::fs::read_to_string(&path).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains("words"), "{}", path.display());
            // What is called like a tag does not become one.
            assert!(!svg.contains("<b>"), "{}", path.display());
        }
        // Nothing asked, nothing found.
        plot(folder.path(), &qrels, &[]).unwrap();
        let none = Answered {
            run: Run::default(),
            milliseconds: Vec::new(),
            ..one("none")
        };
        plot(folder.path(), &qrels, &[none]).unwrap();
    }
}
