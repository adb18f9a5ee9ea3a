//! The day that a template sees.

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A day, at midnight, for `strftime_now` in templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Default for Date {
    /// 26 July 2024: the day that Llama 3's templates assume when they are told none.
    fn default() -> Self {
        Self {
            year: 2024,
            month: 7,
            day: 26,
        }
    }
}

impl Date {
    /// A day of the years 1 to 9999; `None` when there is none.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let date = Self { year, month, day };
        let good = (1..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1;
        (good && u32::from(day) <= date.days_in(month)).then_some(date)
    }

    fn days_in(self, month: u8) -> u32 {
        match month {
            2 if self.is_leap() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn is_leap(self) -> bool {
        let by = |n| self.year.is_multiple_of(n);
        by(4) && (!by(100) || by(400))
    }

    /// 1 for the first of January.
    fn day_of_year(self) -> u32 {
        (1..self.month)
            .map(|month| self.days_in(month))
            .sum::<u32>()
            + u32::from(self.day)
    }

    /// 0 for Monday.
    fn weekday(self) -> usize {
        let before = u32::from(self.year) - 1;
        // 1 January of the year 1 was a Monday.
        ((before * 365 + before / 4 - before / 100 + before / 400 + self.day_of_year() - 1) % 7)
            as usize
    }

    /// Python's `strftime`.
    pub(super) fn format(self, format: &str) -> Result<String, Error> {
        let month = MONTHS[usize::from(self.month) - 1];
        let weekday = DAYS[self.weekday()];
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let code = chars.next();
            let text = match code {
                Some('Y') => self.year.to_string(),
                Some('y') => format!("{:02}", self.year % 100),
                Some('m') => format!("{:02}", self.month),
                Some('d') => format!("{:02}", self.day),
                Some('e') => format!("{:2}", self.day),
                Some('B') => month.to_owned(),
                Some('b' | 'h') => month[..3].to_owned(),
                Some('A') => weekday.to_owned(),
                Some('a') => weekday[..3].to_owned(),
                Some('j') => format!("{:03}", self.day_of_year()),
                Some('F') => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
                Some('H' | 'M' | 'S') => "00".to_owned(),
                Some('I') => "12".to_owned(),
                Some('p') => "AM".to_owned(),
                Some('T') => "00:00:00".to_owned(),
                Some('-') => match chars.next() {
                    Some('d') => self.day.to_string(),
                    Some('m') => self.month.to_string(),
                    other => return Err(unknown(&format!("-{}", other.unwrap_or(' ')))),
                },
                Some('%') => "%".to_owned(),
                other => return Err(unknown(&other.map(String::from).unwrap_or_default())),
            };
            out.push_str(&text);
        }
        Ok(out)
    }
}

fn unknown(code: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("strftime_now does not know %{code}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_python_does() {
        let date = Date::default();
        assert_eq!(date.format("%d %b %Y, %A").unwrap(), "26 Jul 2024, Friday");
        let date = Date::new(2028, 2, 29).unwrap();
        assert_eq!(
            date.format("%a %-d %B %y %j %F 100%%").unwrap(),
            "Tue 29 February 28 060 2028-02-29 100%"
        );
        assert!(date.format("%Q").is_err() && date.format("%").is_err());
    }

    #[test]
    fn days_that_are_none() {
        for (year, month, day) in [
            (2027, 2, 29),
            (1900, 2, 29),
            (2024, 13, 1),
            (2024, 4, 31),
            (0, 1, 1),
            (2024, 1, 0),
        ] {
            assert_eq!(Date::new(year, month, day), None);
        }
    }
}
