//! Calendar functions: parts of a UTC time given in seconds.

use super::{Args, Context, to_vector};
use crate::engine::vector::StepVector;
use crate::error::QueryError;

/// A date of the proleptic Gregorian calendar.
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// Days since 1970-01-01 to a date. Years begin in March, so that the leap day is the last of its year.
fn date_of(days: i64) -> Date {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    let shifted = days + 719_468; // since 0000-03-01
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Date { year, month, day }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(date: &Date) -> i64 {
    match date.month {
        2 => 28 + i64::from(is_leap(date.year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn day_of_year(date: &Date) -> i64 {
    let before: i64 =
        (1..date.month).map(|month| days_in_month(&Date { month, year: date.year, day: 1 })).sum();
    before + date.day
}

/// The function of a time in seconds called `name`.
pub(super) fn part(name: &str) -> Option<fn(i64) -> i64> {
    const DAY: i64 = 86_400;
    let part: fn(i64) -> i64 = match name {
        "minute" => |t| t.rem_euclid(3600) / 60,
        "hour" => |t| t.rem_euclid(DAY) / 3600,
        // 1970-01-01 was a Thursday, Sunday is 0.
        "day_of_week" => |t| (t.div_euclid(DAY) + 4).rem_euclid(7),
        "day_of_month" => |t| date_of(t.div_euclid(DAY)).day,
        "day_of_year" => |t| day_of_year(&date_of(t.div_euclid(DAY))),
        "days_in_month" => |t| days_in_month(&date_of(t.div_euclid(DAY))),
        "month" => |t| date_of(t.div_euclid(DAY)).month,
        "year" => |t| date_of(t.div_euclid(DAY)).year,
        _ => return None,
    };
    Some(part)
}

/// `part` of the argument, or of the evaluation time.
pub(super) fn call(
    part: fn(i64) -> i64,
    args: &mut Args,
    context: &Context<'_>,
) -> Result<Vec<StepVector>, QueryError> {
    let vector = if args.is_empty() {
        vec![to_vector(context.steps.iter().map(|t| t as f64 / 1000.0).collect())]
    } else {
        args.vector()?
    };
    // Far beyond any calendar a float's seconds are no time; the bound keeps the arithmetic from overflowing.
    let seconds = |v: f64| (v as i64).clamp(-(1 << 55), 1 << 55);
    super::math::map(vector, |_, v| Some(part(seconds(v)) as f64), context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_parts() {
        let at = |name: &str, t: i64| part(name).map(|f| f(t));
        // 2016-02-29T13:37:42Z, a Monday.
        let leap = 1_456_753_062;
        for (name, want) in [
            ("year", 2016),
            ("month", 2),
            ("day_of_month", 29),
            ("day_of_year", 60),
            ("day_of_week", 1),
            ("days_in_month", 29),
            ("hour", 13),
            ("minute", 37),
        ] {
            assert_eq!(at(name, leap), Some(want), "{name}");
        }
        assert_eq!(at("year", -1), Some(1969));
        assert_eq!(at("day_of_month", -1), Some(31));
        assert_eq!(at("days_in_month", -2_206_310_400), Some(28), "1900 was no leap year");
    }
}
