//! What was measured, as a chart of bars: medians, with lines from the least to the greatest.

use std::fmt::Write as _;

use anyhow::Result;

use super::report::Report;
use super::spread::{Spread, shown};

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest is.
const BARS: (f64, f64) = (190.0, 460.0);
const ROW: f64 = 22.0;
const HEADING: f64 = 34.0;
const COLOURS: [&str; 7] = ["#777777", "#1b6ca8", "#4aa3df", "#d9822b", "#b83b3b", "#5b8c3a", "#7a5195"];

/// A report as SVG: a group of bars for every measure, each to a scale of its own.
pub fn chart(report: &Report) -> Result<String> {
    let mut body = String::new();
    let mut y = 30.0;
    for measure in report.measures() {
        let spreads: Vec<_> = report
            .candidates()
            .enumerate()
            .filter(|(_, candidate)| report.common.as_deref() != Some(candidate))
            .filter_map(|(place, candidate)| {
                Some((place, candidate, Spread::of(report.net(candidate, measure))?))
            })
            .collect();
        let most = spreads.iter().map(|(.., spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
        writeln!(
            body,
            r#"<text x="10" y="{:.0}" class="heading">{}</text>"#,
            y + HEADING - 10.0,
            escaped(measure)
        )?;
        y += HEADING;
        for (place, candidate, spread) in spreads {
            bar(&mut body, y, COLOURS[place % COLOURS.len()], candidate, spread, BARS.1 / most)?;
            y += ROW;
        }
    }
    let height = y + 14.0;
    let title =
        format!("{}: {}, kernel {}, {} rounds", report.bench, report.unit, report.kernel, report.rounds);
    Ok(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" font-family="sans-serif" font-size="13">
<style>.heading {{ font-weight: bold }} .number {{ fill: #333 }}</style>
<rect width="100%" height="100%" fill="white"/>
<text x="10" y="22" font-size="15">{}</text>
{body}</svg>
"#,
        escaped(&title)
    ))
}

fn bar(
    body: &mut String,
    y: f64,
    colour: &str,
    candidate: &str,
    spread: Spread,
    scale: f64,
) -> std::fmt::Result {
    let length = |value: f64| value.max(0.0) * scale;
    let (left, middle) = (BARS.0, y + ROW / 2.0);
    writeln!(
        body,
        r#"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text>"#,
        left - 8.0,
        middle + 4.0,
        escaped(candidate)
    )?;
    writeln!(
        body,
        r#"<rect x="{left:.0}" y="{:.1}" width="{:.1}" height="{:.1}" fill="{colour}"/>"#,
        y + 3.0,
        length(spread.median),
        ROW - 6.0
    )?;
    let [from, to] = [spread.least, spread.most].map(|value| left + length(value));
    writeln!(body, r##"<path d="M{from:.1} {middle:.1}H{to:.1}" stroke="#000"/>"##)?;
    writeln!(
        body,
        r#"<text x="{:.1}" y="{:.0}" class="number">{}</text>"#,
        to + 8.0,
        middle + 4.0,
        shown(spread.median)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_longest_bar_spans_the_chart_and_names_are_escaped() {
        let report = json!({
            "bench": "packets", "kernel": "6.1", "unit": "Mpps", "notes": [], "rounds": 1, "reference": "bare",
            "common": "alone", "pairs": [],
            "figures": {"alone": {"<64>": [0, 0, 0]}, "bare": {"<64>": [4, 4, 4]}, "port": {"<64>": [2, 2, 4]}},
        });
        let svg = chart(&serde_json::from_value(report).unwrap()).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("&lt;64&gt;"), "{svg}");
        assert!(svg.contains(r#"width="460.0""#) && svg.contains(r#"width="230.0""#), "{svg}");
        assert!(svg.contains(r#"d="M420.0 "#) && !svg.contains("alone<"), "{svg}");
    }
}
