//! Whether a cron line has five fields that can be understood. When it fires is the control room's business.

use std::str::FromStr;

/// Checks minute, hour, day of month, month and day of week (0 or 7 is Sunday, as names or numbers).
///
/// # Errors
/// What is wrong with the line.
pub fn check_cron(line: &str) -> Result<(), String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err(format!("a cron line has five fields, this one has {}", fields.len()));
    };
    for (name, field, at) in [
        ("a minute", minute, 1),
        ("an hour", hour, 2),
        ("a day of month", day, 3),
        ("a month", month, 4),
    ] {
        let mut alone = ["0", "*", "*", "*", "*", "*"];
        alone[at] = field;
        parses(&alone.join(" ")).map_err(|()| format!("`{field}` is not {name}"))?;
    }
    let weekday = translated(weekday)?;
    parses(&format!("0 * * * * {weekday}"))
        .map_err(|()| format!("`{}` is not a day of week", fields[4]))?;
    // Day 31 of February and its like never come.
    let schedule =
        ::cron::Schedule::from_str(&format!("0 {minute} {hour} {day} {month} {weekday}"));
    let never = schedule.is_ok_and(|schedule| never_fires(&schedule));
    if never { Err("no day fits this line".to_owned()) } else { Ok(()) }
}

fn parses(line: &str) -> Result<(), ()> {
    ::cron::Schedule::from_str(line).map(drop).map_err(drop)
}

/// Whether none of its days of the month is a day of one of its months.
fn never_fires(schedule: &::cron::Schedule) -> bool {
    use ::cron::TimeUnitSpec;
    const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months = 1_u32..=12;
    let mut months = months.zip(LENGTHS).filter(|(month, _)| schedule.months().includes(*month));
    !months.any(|(_, length)| (1..=length).any(|day| schedule.days_of_month().includes(day)))
}

/// Weekday numbers as the library counts them: 0 and 7 are Sunday, which it calls 1.
fn translated(field: &str) -> Result<String, String> {
    let wrong = || format!("`{field}` is not a day of week");
    let parts = field.split(',').map(|part| {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, format!("/{step}")),
            None => (part, String::new()),
        };
        let ends: Vec<&str> = range.split('-').collect();
        let ends: Option<Vec<String>> = ends.into_iter().map(day).collect();
        match ends.ok_or_else(wrong)?.as_slice() {
            [one] => Ok(format!("{one}{step}")),
            // A week that ends on its seventh day begins again: Sunday stands apart.
            [first, last] if last == "1" && first != "1" => {
                if step.is_empty() {
                    Ok(format!("{first}-7,1"))
                } else {
                    Ok(format!("{first}-7{step}"))
                }
            }
            [first, last] => Ok(format!("{first}-{last}{step}")),
            _ => Err(wrong()),
        }
    });
    Ok(parts.collect::<Result<Vec<_>, _>>()?.join(","))
}

fn day(text: &str) -> Option<String> {
    const NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    if text == "*" {
        return Some("*".to_owned());
    }
    let named = NAMES.iter().position(|name| text.eq_ignore_ascii_case(name));
    let number = named.or_else(|| text.parse().ok().filter(|number| *number <= 7))?;
    Some((number % 7 + 1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_people_write_are_understood() {
        for line in [
            "*/15 * * * *",
            "0 6 * * 1-5",
            "0 6 * * mon-fri",
            "30 2 1,15 * *",
            "0 0 * * 0",
            "0 0 * * 7",
            "0 0 * * 5-7",
            "5 4 29 2 *",
            "0 9-17/2 * jan-mar *",
        ] {
            assert_eq!(check_cron(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, what) in [
            ("* * * *", "five fields, this one has 4"),
            ("0 */15 * * * *", "five fields, this one has 6"),
            ("61 * * * *", "`61` is not a minute"),
            ("0 25 * * *", "`25` is not an hour"),
            ("0 0 32 * *", "`32` is not a day of month"),
            ("0 0 * 13 *", "`13` is not a month"),
            ("0 0 * * 8", "`8` is not a day of week"),
            ("0 0 31 2,4 *", "no day fits"),
            ("every day at six x", "`every` is not a minute"),
        ] {
            let found = check_cron(line).expect_err(line);
            assert!(found.contains(what), "{line}: {found}");
        }
    }
}
