//! Numbers with their units, for people.

use std::fmt::Display;

/// Returns a number with its noun, such as `1 row`, `3 rows` or `3 deliveries`. `singular` is a noun whose plural
/// ends with an added `s`, or with `ies` instead of `y`.
pub fn count(n: impl Display, singular: &str) -> String {
    let n = n.to_string();
    match singular.strip_suffix('y') {
        _ if n == "1" => format!("1 {singular}"),
        Some(stem) => format!("{n} {stem}ies"),
        None => format!("{n} {singular}s"),
    }
}

/// Formats a size in bytes with a binary unit, such as `1.5 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mut size = n as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // Would be shown as 1024.0.
        if size < 1023.95 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(
            [0, 1, 2, 11, 101].map(|n| count(n, "task event")),
            [
                "0 task events",
                "1 task event",
                "2 task events",
                "11 task events",
                "101 task events"
            ]
        );
        assert_eq!(count(serde_json::json!(1), "client"), "1 client");
        assert_eq!([1, 2].map(|n| count(n, "delivery")), ["1 delivery", "2 deliveries"]);
    }

    #[test]
    fn sizes_have_the_largest_unit_that_fits() {
        for (n, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 20, "1.0 MiB"),
            (76_509_872_128, "71.3 GiB"),
            (5 << 40, "5.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(n), shown, "{n}");
        }
    }
}
