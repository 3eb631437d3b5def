//! Charts in plain SVG 1.1: grouped bars beside names, and lines over places. No scripts, and no fonts of
//! their own.

/// One for each series; they can be told apart without colours' names, too.
const COLOURS: [&str; 8] =
    ["#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#999999", "#222222"];

const WIDTH: f64 = 900.0;
const LEFT: f64 = 250.0;
const BAR: f64 = 8.0;

/// What a chart is drawn from.
pub(super) struct Chart {
    pub(super) title: String,
    /// Of the values.
    pub(super) unit: String,
    /// Names of the series, with their values: by group in bars, by place in lines.
    pub(super) series: Vec<(String, Vec<Option<f64>>)>,
}

/// Horizontal bars in groups of these names, with a line at `mark`.
pub(super) fn bars(chart: &Chart, groups: &[String], mark: f64) -> String {
    let rows = groups.len() as f64 * (chart.series.len() as f64 * BAR + 10.0);
    let top = 60.0;
    let mut out = open(top + rows + 30.0, chart);
    let values = || chart.series.iter().flat_map(|(_, values)| values.iter().flatten());
    let most = values().copied().fold(mark, f64::max);
    let scale = (WIDTH - LEFT - 60.0) / most;
    let mut y = top;
    for (group, name) in groups.iter().enumerate() {
        let middle = y + chart.series.len() as f64 * BAR / 2.0 + 4.0;
        text(&mut out, LEFT - 8.0, middle, "end", name);
        for (number, (_, values)) in chart.series.iter().enumerate() {
            if let Some(value) = values.get(group).copied().flatten() {
                let (width, colour) = (value * scale, colour(number));
                push(
                    &mut out,
                    format_args!(
                        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                        BAR - 1.0
                    ),
                );
                push(
                    &mut out,
                    format_args!(
                        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"8\">{value:.2}</text>",
                        LEFT + width + 3.0,
                        y + BAR - 1.5
                    ),
                );
            }
            y += BAR;
        }
        y += 10.0;
    }
    let x = LEFT + mark * scale;
    line(&mut out, [x, top - 6.0, x, y], "#000000");
    text(&mut out, x, y + 14.0, "middle", &format!("{mark} {}", chart.unit));
    out + "</svg>\n"
}

/// Values over places, which lie beside each other at equal distances.
pub(super) struct Curve {
    pub(super) chart: Chart,
    pub(super) places: Vec<f64>,
    /// What the places count.
    pub(super) axis: &'static str,
}

const HEIGHT: f64 = 300.0;

/// One curve below the other; values on a logarithmic scale.
pub(super) fn lines(curves: &[Curve]) -> String {
    let height = curves.len() as f64 * HEIGHT;
    let mut out =
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\">\n");
    for (number, curve) in curves.iter().enumerate() {
        let y = number as f64 * HEIGHT;
        out += &draw(curve).replacen("<svg ", &format!("<svg y=\"{y}\" "), 1);
    }
    out + "</svg>\n"
}

fn draw(Curve { chart, places, axis }: &Curve) -> String {
    let mut out = open(HEIGHT, chart);
    let (left, right, top, bottom) = (80.0, WIDTH - 30.0, 64.0, HEIGHT - 40.0);
    let values = || chart.series.iter().flat_map(|(_, values)| values.iter().flatten().copied());
    let low = values().fold(f64::MAX, f64::min).max(1e-3);
    let high = values().fold(low, f64::max).max(low * 1.1);
    let step = (right - left) / places.len().saturating_sub(1).max(1) as f64;
    let y = |value: f64| bottom - (bottom - top) * (value / low).ln() / (high / low).ln();
    let mut decade = 10_f64.powf(low.log10().floor());
    while decade <= high {
        for tick in [1.0, 2.0, 5.0].map(|times| times * decade) {
            if (low..=high).contains(&tick) {
                line(&mut out, [left, y(tick), right, y(tick)], "#dddddd");
                text(&mut out, left - 6.0, y(tick) + 4.0, "end", &short(tick));
            }
        }
        decade *= 10.0;
    }
    for (number, place) in places.iter().enumerate() {
        let x = left + step * number as f64;
        line(&mut out, [x, bottom, x, bottom + 4.0], "#000000");
        text(&mut out, x, bottom + 16.0, "middle", &short(*place));
    }
    text(&mut out, right, HEIGHT - 8.0, "end", axis);
    for (number, (_, values)) in chart.series.iter().enumerate() {
        let points: Vec<String> = (values.iter().enumerate())
            .filter_map(|(place, value)| {
                Some(format!("{:.1},{:.1}", left + step * place as f64, y((*value)?)))
            })
            .collect();
        let (points, colour) = (points.join(" "), colour(number));
        push(
            &mut out,
            format_args!(
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            ),
        );
    }
    out + "</svg>\n"
}

fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e3 {
        format!("{}k", value / 1e3)
    } else {
        format!("{value}")
    }
}

/// The beginning of a chart: its frame, title and legend.
fn open(height: f64, chart: &Chart) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    push(
        &mut out,
        format_args!(
            "<text x=\"10\" y=\"20\" font-size=\"14\">{}</text>",
            escaped(&format!("{} ({})", chart.title, chart.unit))
        ),
    );
    let mut x = 10.0;
    for (number, (name, _)) in chart.series.iter().enumerate() {
        let colour = colour(number);
        push(
            &mut out,
            format_args!("<rect x=\"{x}\" y=\"32\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"),
        );
        text(&mut out, x + 14.0, 41.0, "start", name);
        x += 32.0 + name.len() as f64 * 6.2;
    }
    out
}

fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or_default()
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    push(
        out,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(words)),
    );
}

fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str) {
    push(
        out,
        format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
        ),
    );
}

fn push(out: &mut String, element: std::fmt::Arguments<'_>) {
    *out += &format!("{element}\n");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> Chart {
        let values = values.iter().map(|value| Some(*value)).collect();
        Chart { title: "a < b".to_owned(), unit: "times".to_owned(), series: vec![("s".to_owned(), values)] }
    }

    #[test]
    fn a_bar_is_as_long_as_its_value_says() {
        let svg = bars(&chart(&[2.0, 1.0]), &["x".to_owned(), "y".to_owned()], 1.0);
        assert!(svg.contains("width=\"590.0\"") && svg.contains("width=\"295.0\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn a_line_goes_from_end_to_end() {
        let curve =
            Curve { chart: chart(&[10.0, 100.0, 1000.0]), places: vec![1.0, 8.0, 64.0], axis: "sessions" };
        let svg = lines(&[curve]);
        assert!(svg.contains("points=\"80.0,260.0 475.0,162.0 870.0,64.0\""), "{svg}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }
}
