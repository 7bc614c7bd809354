//! Times as people write them, and milliseconds since 1970: the proleptic Gregorian calendar of
//! ISO 8601, without leap seconds.

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Years that are understood; `9999` is the last that four digits can say.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=9999;

/// Reads `2026-03-01`, `2026-03-01T06:00`, `2026-03-01T06:00:00` or `2026-03-01T06:00:00.000`, each
/// with a time followed by `Z`, `+01:00`, `+0100` or nothing, which is UTC; a blank may stand for the
/// `T`. `None` for everything else.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut fields = date.split('-');
    let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let is_date = fields.next().is_none()
        && YEARS.contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day);
    let midnight = is_date.then(|| days_before(year, month, day) * DAY)?;
    match time {
        None => Some(midnight),
        Some(time) => Some(midnight + time_of_day(time)?),
    }
}

/// Milliseconds since midnight UTC; negative where an offset makes it the day before.
fn time_of_day(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (time, zone) = text.split_at(zone_at);
    let (time, millis) = match time.split_once(['.', ',']) {
        Some((time, fraction)) => (time, millis_of(fraction)?),
        None => (time, 0),
    };
    let mut fields = time.split(':');
    let (hour, minute) = (fields.next()?, fields.next()?);
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    let second = fields.next().map_or(Some(0), |second| digits(second, 2))?;
    let is_time = fields.next().is_none() && hour < 24 && minute < 60 && second < 60;
    let since = hour * HOUR + minute * MINUTE + second * 1000 + millis;
    let ahead = offset_of(zone)?;
    is_time.then_some(since - ahead)
}

fn millis_of(fraction: &str) -> Option<i64> {
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    is_fraction.then(|| padded.parse().ok())?
}

/// How far a zone is ahead of UTC.
fn offset_of(zone: &str) -> Option<i64> {
    let ahead = match zone {
        "" | "Z" | "z" => return Some(0),
        _ => zone.starts_with('+'),
    };
    let rest = zone.get(1..)?;
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) => (digits(hours, 2)?, digits(minutes, 2)?),
        None if rest.len() == 4 => (digits(rest.get(..2)?, 2)?, digits(rest.get(2..)?, 2)?),
        None => (digits(rest, 2)?, 0),
    };
    let offset = hours * HOUR + minutes * MINUTE;
    let is_offset = hours < 24 && minutes < 60;
    is_offset.then_some(if ahead { offset } else { -offset })
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let is_right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_right.then(|| text.parse().ok())?
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(before) - leap_days(1969);
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}

/// A time in UTC as [`parse`] reads it; milliseconds as they are where it is beyond the years.
pub(super) fn shown(millis: i64) -> String {
    let (days, since) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    if !(0..days_before(YEARS.end() + 1, 1, 1)).contains(&days) {
        return millis.to_string();
    }
    let mut year = YEARS.start() + days / 366;
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rfind(|month| days_before(year, *month, 1) <= days);
    let month = month.unwrap_or(1);
    let day = days - days_before(year, month, 1) + 1;
    let (hour, minute) = (since / HOUR, since % HOUR / MINUTE);
    let (second, rest) = (since % MINUTE / 1000, since % 1000);
    let fraction = if rest == 0 {
        String::new()
    } else {
        format!(".{rest:03}")
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}
