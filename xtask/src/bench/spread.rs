//! Middle values, and how far others are from them.

/// A middle value, and how far others are from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least of all.
    pub least: f64,
    /// As many are below it as above.
    pub median: f64,
    /// The greatest of all.
    pub most: f64,
}

impl Spread {
    /// Of these, if there are any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => return None,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { least: sorted[0], median, most: sorted[sorted.len() - 1] })
    }
}

/// The value that this part of a hundred is not above.
pub fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = (sorted.len() as f64 * part / 100.0).ceil() as usize;
    sorted.get(place.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// A number for people: three digits that count, or whole ones in groups of three.
pub fn shown(number: f64) -> String {
    let size = number.abs();
    match size {
        _ if size >= 1000.0 => grouped(number),
        _ if size >= 99.95 => format!("{number:.0}"),
        _ if size >= 9.995 => format!("{number:.1}"),
        _ if size >= 0.0995 || size == 0.0 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}

/// A whole number, its digits in groups of three.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_sorted_values() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, most: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { least: 1.0, median: 2.5, most: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!([50.0, 99.0, 99.9].map(|part| percentile(&values, part)), [500.0, 990.0, 999.0].map(Some));
        assert_eq!(percentile(&values[..1], 99.9), Some(1.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn numbers_have_as_many_digits_as_count() {
        assert_eq!(
            [0.0, 0.012, 0.494, 2.049, 31.26, 688.4, 9020.0, 1_048_576.0].map(shown),
            ["0.00", "0.0120", "0.49", "2.05", "31.3", "688", "9 020", "1 048 576"]
        );
    }
}
