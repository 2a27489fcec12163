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

/// Days and seconds since 1970-01-01.
#[derive(Clone, Copy)]
pub(super) struct Time {
    days: i64,
    second_of_day: i64,
}

impl Time {
    /// The time that Prometheus takes `v` seconds for. No number, and what is beyond 64 bits, is the least integer, as
    /// amd64 converts it; and what is before the first time that Go knows is that much before its last one.
    fn of(v: f64) -> Self {
        const FIRST: i64 = -9_223_372_028_715_321_600;
        const LEAST: f64 = i64::MIN as f64;
        let seconds = if (LEAST..-LEAST).contains(&v) { v as i64 } else { i64::MIN };
        let wrapped = if seconds < FIRST { 1 << 64 } else { 0 };
        let seconds = i128::from(seconds) + wrapped;
        Time {
            days: seconds.div_euclid(86_400) as i64,
            second_of_day: seconds.rem_euclid(86_400) as i64,
        }
    }

    fn date(self) -> Date {
        date_of(self.days)
    }
}

/// A time in seconds since 1970-01-01, such as `1970-01-12T13:46:40Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let Date { year, month, day } = date_of(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The function of a time called `name`.
pub(super) fn part(name: &str) -> Option<fn(Time) -> i64> {
    let part: fn(Time) -> i64 = match name {
        "minute" => |t| t.second_of_day % 3600 / 60,
        "hour" => |t| t.second_of_day / 3600,
        // 1970-01-01 was a Thursday, Sunday is 0.
        "day_of_week" => |t| (t.days + 4).rem_euclid(7),
        "day_of_month" => |t| t.date().day,
        "day_of_year" => |t| day_of_year(&t.date()),
        "days_in_month" => |t| days_in_month(&t.date()),
        "month" => |t| t.date().month,
        "year" => |t| t.date().year,
        _ => return None,
    };
    Some(part)
}

/// `part` of the argument, or of the evaluation time.
pub(super) fn call(
    part: fn(Time) -> i64,
    args: &mut Args,
    context: &Context<'_>,
) -> Result<Vec<StepVector>, QueryError> {
    let vector = if args.is_empty() {
        vec![to_vector(context.steps.iter().map(|t| t as f64 / 1000.0).collect())]
    } else {
        args.vector()?
    };
    super::math::map(vector, |_, v| Some(part(Time::of(v)) as f64), context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_parts() {
        let at = |name: &str, t: f64| part(name).map(|f| f(Time::of(t)));
        // 2016-02-29T13:37:42Z, a Monday.
        let leap = 1_456_753_062.0;
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
        assert_eq!(at("year", -1.0), Some(1969));
        assert_eq!(at("day_of_month", -1.0), Some(31));
        assert_eq!(at("days_in_month", -2_206_310_400.0), Some(28), "1900 was no leap year");
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(rfc3339(-5), "1969-12-31T23:59:55Z");
        assert_eq!(rfc3339(1_000_000), "1970-01-12T13:46:40Z");
    }

    /// What Go 1.26 makes of them on amd64.
    #[test]
    fn what_is_no_time_has_a_date_all_the_same() {
        let names = ["year", "month", "day_of_month", "day_of_week", "day_of_year", "hour"];
        for (seconds, want) in [
            (f64::NAN, [292_277_026_596, 12, 4, 0, 339, 15]),
            (1e30, [292_277_026_596, 12, 4, 0, 339, 15]),
            (f64::NEG_INFINITY, [292_277_026_596, 12, 4, 0, 339, 15]),
            (-9.223_372_036e18, [292_277_026_624, 1, 6, 2, 6, 21]),
            (-9.223_372_028e18, [-292_277_022_377, 9, 2, 6, 245, 4]),
            (9.2e18, [291_536_396_232, 8, 31, 5, 244, 11]),
            (-7e10, [-249, 10, 15, 5, 288, 19]),
        ] {
            let got = names.map(|name| part(name).map(|f| f(Time::of(seconds))));
            assert_eq!(got, want.map(Some), "{seconds}");
        }
    }
}
