//! Plots of a run as SVG: texts and axes have the colour of the page around them.

use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::base::words::seconds;

/// A line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A moment that a plot marks.
#[derive(Clone)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) name: String,
}

/// A bar of a lane, from one moment to another.
pub(super) struct Bar {
    pub(super) lane: usize,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) colour: usize,
}

const SIZE: (u32, u32) = (900, 300);
/// Stands for the colour of the page's text.
const TEXT: RGBColor = RGBColor(1, 1, 1);
/// Stands for thin lines.
const THIN: RGBColor = RGBColor(2, 2, 2);
/// Colours that people with any sight tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(160, 150, 20),
    RGBColor(120, 120, 120),
];

pub(super) fn colour(at: usize) -> RGBColor {
    COLOURS[at % COLOURS.len()]
}

/// The same as a colour of CSS.
pub(super) fn css(at: usize) -> String {
    let RGBColor(red, green, blue) = colour(at);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Whatever is drawn into memory cannot fail.
const DRAWS: &str = "drawing into memory cannot fail";

/// Lines over time with marks; steps of an operator and the like.
pub(super) fn lines(title: &str, y_name: &str, lines: &[Line], marks: &[Mark]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (from, to) = range(points().map(|point| point.0));
    let (_, top) = range(points().map(|point| point.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(60)
            .build_cartesian_2d(from..to, 0.0..top.max(1.0) * 1.05)
            .expect(DRAWS);
        mesh(&mut chart, "seconds since the start of the run", y_name);
        for mark in marks {
            let line = [(mark.at, 0.0), (mark.at, top.max(1.0) * 1.05)];
            chart.draw_series(LineSeries::new(line, THIN.mix(0.6))).expect(DRAWS);
            let style = ("sans-serif", 11).into_font().color(&TEXT);
            let text = Text::new(mark.name.clone(), (mark.at, top.max(1.0) * 1.04), style);
            chart.draw_series([text]).expect(DRAWS);
        }
        for (at, line) in lines.iter().enumerate() {
            let style = colour(at).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))
                .expect(DRAWS)
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
        }
        legend(&mut chart);
        area.present().expect(DRAWS);
    }
    finished(&svg, title)
}

/// Lines over levels of load, with a dot at each level.
pub(super) fn by_level(
    title: &str,
    x_name: &str,
    y_name: &str,
    lines: &[Line],
    marks: &[Mark],
) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (_, to) = range(points().map(|point| point.0));
    let top = points().map(|point| point.1).fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.05 } else { 1.0 };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..to * 1.05, 0.0..top)
            .expect(DRAWS);
        mesh(&mut chart, x_name, y_name);
        for mark in marks {
            let line = [(mark.at, 0.0), (mark.at, top)];
            chart.draw_series(LineSeries::new(line, THIN.mix(0.6))).expect(DRAWS);
            let style = ("sans-serif", 11).into_font().color(&TEXT);
            let text = Text::new(mark.name.clone(), (mark.at, top * 0.99), style);
            chart.draw_series([text]).expect(DRAWS);
        }
        for (at, line) in lines.iter().enumerate() {
            let style = colour(at).stroke_width(2);
            let dots = line.points.iter().map(|&point| Circle::new(point, 3, colour(at).filled()));
            chart.draw_series(dots).expect(DRAWS);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))
                .expect(DRAWS)
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
        }
        legend(&mut chart);
        area.present().expect(DRAWS);
    }
    finished(&svg, title)
}

/// Areas that lie on each other.
pub(super) fn stacked(title: &str, y_name: &str, layers: &[Line]) -> String {
    let points = || layers.iter().flat_map(|line| &line.points);
    let (from, to) = range(points().map(|point| point.0));
    let count = layers.first().map_or(0, |layer| layer.points.len());
    let sum = |at: usize| layers.iter().map(|layer| layer.points[at].1).sum::<f64>();
    let top = (0..count).map(sum).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(60)
            .build_cartesian_2d(from..to, 0.0..top)
            .expect(DRAWS);
        mesh(&mut chart, "seconds since the start of the run", y_name);
        let mut below = vec![0.0; count];
        for (at, layer) in layers.iter().enumerate() {
            let above: Vec<f64> =
                layer.points.iter().zip(&below).map(|(point, below)| point.1 + below).collect();
            let x = |at: usize| layer.points[at].0;
            let there = (0..count).map(|at| (x(at), above[at]));
            let back = (0..count).rev().map(|at| (x(at), below[at]));
            let outline: Vec<(f64, f64)> = there.chain(back).collect();
            let style = colour(at).mix(0.8).filled();
            chart
                .draw_series([Polygon::new(outline, style)])
                .expect(DRAWS)
                .label(&layer.name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], style));
            below = above;
        }
        legend(&mut chart);
        area.present().expect(DRAWS);
    }
    finished(&svg, title)
}

/// A percentile plot: time by 1/(1-p), both logarithmic.
pub(super) fn percentiles(title: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (_, to) = range(points().map(|point| point.0));
    let (low, high) = range(points().map(|point| point.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let y = (low.max(1e-6) * 0.8..high.max(1e-5) * 1.25).log_scale();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(60)
            .build_cartesian_2d((1.0..to.max(10.0)).log_scale(), y)
            .expect(DRAWS);
        let style = ("sans-serif", 12).into_font().color(&TEXT);
        let percent = |one_in: &f64| {
            let percent = format!("{:.4}", 100.0 * (1.0 - 1.0 / one_in));
            format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
        };
        chart
            .configure_mesh()
            .x_desc("percentile")
            .y_desc("response time")
            .x_label_formatter(&percent)
            .y_label_formatter(&|y| seconds(Some(*y)))
            .label_style(style.clone())
            .axis_desc_style(style)
            .axis_style(TEXT)
            .bold_line_style(THIN.mix(0.25))
            .light_line_style(TRANSPARENT)
            .draw()
            .expect(DRAWS);
        for (at, line) in lines.iter().enumerate() {
            let style = colour(at).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))
                .expect(DRAWS)
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
        }
        legend(&mut chart);
        area.present().expect(DRAWS);
    }
    finished(&svg, title)
}

/// Cells of a heat map: from and to on both axes, and how much of the most there is.
pub(super) type Cell = ([f64; 2], [f64; 2], f64);

/// How often which time was seen when; times are logarithmic.
pub(super) fn heat(title: &str, cells: &[Cell]) -> String {
    let (from, to) = range(cells.iter().flat_map(|cell| cell.0));
    let (low, high) = range(cells.iter().flat_map(|cell| cell.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (900, 220)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(60)
            .build_cartesian_2d(from..to, (low.max(1e-6)..high.max(1e-5)).log_scale())
            .expect(DRAWS);
        let style = ("sans-serif", 12).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("seconds since the start of the run")
            .y_label_formatter(&|y| seconds(Some(*y)))
            .label_style(style.clone())
            .axis_desc_style(style)
            .axis_style(TEXT)
            .draw()
            .expect(DRAWS);
        let cell = |([left, right], [low, high], share): &Cell| {
            let style = colour(0).mix(0.15 + 0.85 * share).filled();
            Rectangle::new([(*left, *low), (*right, *high)], style)
        };
        chart.draw_series(cells.iter().map(cell)).expect(DRAWS);
        area.present().expect(DRAWS);
    }
    finished(&svg, title)
}

/// An axis of a grid: what it is of, and the names along it.
pub(super) struct GridAxis<'a> {
    pub(super) key: &'a str,
    pub(super) names: &'a [String],
}

/// A cell of a grid: where it is, what stands in it and, where that is a number, how much of the
/// most it is.
pub(super) struct GridCell {
    pub(super) column: usize,
    pub(super) row: usize,
    pub(super) text: String,
    pub(super) share: Option<f64>,
}

/// Longest name beside a row of a grid, in characters.
const NAME_MAX: usize = 36;
/// Width of a character of 12 points and height of a row, in units of the drawing.
const CHARACTER: u32 = 7;
const ROW: u32 = 24;

/// A grid of cells with their texts, the darker the more; the first row on top.
pub(super) fn grid(title: &str, x: &GridAxis<'_>, y: &GridAxis<'_>, cells: &[GridCell]) -> String {
    let longest = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let width_of = |characters: usize| CHARACTER * characters as u32 + 10;
    let left = width_of(longest(&mut y.names.iter()).clamp(4, NAME_MAX));
    let columns = (x.names.len() as u32).max(1);
    let widest = width_of(longest(&mut cells.iter().map(|cell| &cell.text)));
    let width = ((SIZE.0 - left) / columns).max(widest);
    let below = ROW * y.names.len() as u32 + ROW;
    let corner = |column: usize, row: usize| {
        let across = left + width * column as u32;
        (across.cast_signed(), (ROW + ROW * row as u32).cast_signed())
    };
    let middle = |column: usize, row: usize| {
        let (across, down) = corner(column, row);
        (across + width.cast_signed() / 2, down + ROW.cast_signed() / 2)
    };
    let mut svg = String::new();
    {
        let size = (left + width * columns + 2, below + 2 * ROW);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let centred = Pos::new(HPos::Center, VPos::Center);
        let font = || ("sans-serif", 12).into_font().color(&TEXT);
        let write = |text: String, at: (i32, i32), style: TextStyle<'_>| {
            area.draw(&Text::new(text, at, style)).expect(DRAWS);
        };
        for cell in cells {
            let from = corner(cell.column, cell.row);
            let to = (from.0 + width.cast_signed() - 1, from.1 + ROW.cast_signed() - 1);
            if let Some(share) = cell.share {
                // So light that the text can be read on it in either scheme.
                let style = colour(0).mix(0.08 + 0.5 * share).filled();
                area.draw(&Rectangle::new([from, to], style)).expect(DRAWS);
            }
            area.draw(&Rectangle::new([from, to], THIN.mix(0.2))).expect(DRAWS);
            write(cell.text.clone(), middle(cell.column, cell.row), font().pos(centred));
        }
        for (row, name) in y.names.iter().enumerate() {
            let at = (left.cast_signed() - 6, middle(0, row).1);
            let style = font().pos(Pos::new(HPos::Right, VPos::Center));
            write(clipped(name, NAME_MAX), at, style);
        }
        for (column, name) in x.names.iter().enumerate() {
            let at = middle(column, y.names.len());
            write(clipped(name, (width / CHARACTER) as usize), at, font().pos(centred));
        }
        write(
            y.key.to_owned(),
            (4, ROW.cast_signed() / 2),
            font().pos(Pos::new(HPos::Left, VPos::Center)),
        );
        let under = (below + ROW + ROW / 2).cast_signed();
        let at = ((left + width * columns / 2).cast_signed(), under);
        write(x.key.to_owned(), at, font().pos(centred));
        area.present().expect(DRAWS);
    }
    finished(&svg, title)
}

/// A text of so many characters at most.
fn clipped(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Lanes of bars, the first lane on top.
pub(super) fn lanes(title: &str, names: &[String], bars: &[Bar], marks: &[Mark]) -> String {
    let (from, to) = range(bars.iter().flat_map(|bar| [bar.from, bar.to]));
    let height = 44 + 22 * names.len() as u32;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (900, height)).into_drawing_area();
        let rows = names.len() as f64;
        let mut chart = ChartBuilder::on(&area)
            .margin(4)
            .margin_left(190)
            .x_label_area_size(32)
            .build_cartesian_2d(from..to, 0.0..rows)
            .expect(DRAWS);
        mesh(&mut chart, "seconds since the start of the run", "");
        let low = |lane: usize| rows - 1.0 - lane as f64;
        let bar = |bar: &Bar| {
            let (y, style) = (low(bar.lane), colour(bar.colour).mix(0.85).filled());
            Rectangle::new([(bar.from, y + 0.15), (bar.to, y + 0.85)], style)
        };
        chart.draw_series(bars.iter().map(bar)).expect(DRAWS);
        for mark in marks {
            let line = [(mark.at, 0.0), (mark.at, rows)];
            chart.draw_series(LineSeries::new(line, THIN.mix(0.6))).expect(DRAWS);
        }
        for (lane, name) in (0i32..).zip(names) {
            let style = ("sans-serif", 12).into_font().color(&TEXT);
            area.draw(&Text::new(name.clone(), (4, 8 + 22 * lane), style)).expect(DRAWS);
        }
        area.present().expect(DRAWS);
    }
    finished(&svg, title)
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

fn mesh<X, Y>(chart: &mut Chart<'_, '_, X, Y>, x_name: &str, y_name: &str)
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let style = ("sans-serif", 12).into_font().color(&TEXT);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(x_name)
        .y_desc(y_name)
        .label_style(style.clone())
        .axis_desc_style(style)
        .axis_style(TEXT)
        .bold_line_style(THIN.mix(0.25))
        .light_line_style(TRANSPARENT);
    if y_name.is_empty() {
        mesh.disable_y_mesh().disable_y_axis();
    }
    mesh.draw().expect(DRAWS);
}

fn legend<'a, X, Y>(chart: &mut Chart<'a, 'a, X, Y>)
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let style = ("sans-serif", 12).into_font().color(&TEXT);
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .label_font(style)
        .border_style(THIN.mix(0.25))
        .draw()
        .expect(DRAWS);
}

/// The least and the most of some numbers, apart from each other.
fn range(numbers: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = numbers.fold(None, |ends: Option<(f64, f64)>, number| {
        let (low, high) = ends.unwrap_or((number, number));
        Some((low.min(number), high.max(number)))
    });
    let (low, high) = ends.unwrap_or((0.0, 1.0));
    if high > low { (low, high) } else { (low, low + 1.0) }
}

/// A plot that takes the width and the colours of its page and has a title for those who cannot
/// see it.
fn finished(svg: &str, title: &str) -> String {
    let title = quick_xml::escape::escape(title);
    let svg = svg.replace("#010101", "currentColor").replace("#020202", "currentColor");
    let open = svg.find('>').map_or(0, |at| at + 1);
    let head = svg[..open].replacen("<svg ", "<svg role=\"img\" class=\"plot\" ", 1);
    format!("{head}<title>{title}</title>{}", &svg[open..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_of_nothing_and_of_one_point_can_be_drawn() {
        let one = || vec![Line { name: "a <b>".into(), points: vec![(1.0, 2.0)] }];
        let marks = [Mark { at: 1.0, name: "1".into() }];
        let names = ["a <b>".to_owned(), "long".repeat(99)];
        let axis = GridAxis { key: "k&", names: &names };
        let cell = |text: &str, share| GridCell { column: 1, row: 1, text: text.to_owned(), share };
        let all = [
            lines("t", "phones", &one(), &marks),
            lines("t", "phones", &[], &[]),
            stacked("t", "phones", &one()),
            stacked("t", "phones", &[]),
            percentiles("t", &one()),
            percentiles("t", &[]),
            heat("t <x>", &[([0.0, 1.0], [0.001, 0.002], 1.0)]),
            heat("t", &[]),
            grid("t", &axis, &axis, &[]),
            grid("t <x>", &axis, &axis, &[cell("-", None), cell("1 <", Some(1.0))]),
            grid("t", &GridAxis { names: &[], ..axis }, &axis, &[]),
            lanes("t", &["x".into()], &[Bar { lane: 0, from: 0.0, to: 1.0, colour: 3 }], &marks),
        ];
        for svg in all {
            assert!(svg.starts_with("<svg role=\"img\"") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains("<title>t") && !svg.contains("#010101"), "{svg}");
            let mut reader = quick_xml::Reader::from_str(&svg);
            while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        }
    }
}
