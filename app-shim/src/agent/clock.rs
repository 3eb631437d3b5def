//! Whether the user's clock is right: the application says in every answer what time it has (`Date`, RFC
//! 9110, section 6.6.1). Envelopes of a computer that is minutes off are refused, and its user could not
//! guess why.

use axum::http::header::{AGE, DATE, HeaderMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What is not worth telling: `Date` has whole seconds, and the proxy bears five.
const TOLERANCE: Duration = Duration::from_secs(4);
/// By how much a difference must change to be told again.
const CHANGE: Duration = Duration::from_secs(30);

/// By how much the clock is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockError {
    /// It is later here than there.
    Ahead(Duration),
    /// It is earlier.
    Behind(Duration),
}

/// What was told last.
pub(super) struct Clock(Mutex<Option<ClockError>>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Compares with an answer to a request that was sent and answered at these times here, and tells the
    /// log if that is news.
    pub(super) fn compare(
        &self,
        answer: &HeaderMap,
        sent: SystemTime,
        answered: SystemTime,
    ) -> Option<ClockError> {
        // What a cache has kept says what time it was.
        let date = answer.get(DATE).filter(|_| !answer.contains_key(AGE))?;
        let there = httpdate::parse_http_date(date.to_str().ok()?).ok()?;
        let error = difference(there, sent, answered);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_news(*told, error) {
            match error {
                Some(error) => tracing::warn!("{error}; set it right"),
                None => tracing::info!("your computer's clock is right now"),
            }
            *told = error;
        }
        error
    }
}

/// The answer was made at some time between the two.
fn difference(there: SystemTime, sent: SystemTime, answered: SystemTime) -> Option<ClockError> {
    let second = Duration::from_secs(1);
    let ahead = sent.duration_since(there + second).unwrap_or_default();
    let behind = there.duration_since(answered).unwrap_or_default();
    if ahead > TOLERANCE {
        Some(ClockError::Ahead(ahead))
    } else if behind > TOLERANCE {
        Some(ClockError::Behind(behind))
    } else {
        None
    }
}

fn is_news(told: Option<ClockError>, now: Option<ClockError>) -> bool {
    match (told, now) {
        (None, None) => false,
        (Some(ClockError::Ahead(told)), Some(ClockError::Ahead(now)))
        | (Some(ClockError::Behind(told)), Some(ClockError::Behind(now))) => told.abs_diff(now) > CHANGE,
        _ => true,
    }
}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, direction) = match self {
            Self::Ahead(by) => (by, "ahead of"),
            Self::Behind(by) => (by, "behind"),
        };
        write!(f, "your computer's clock is {} {direction} the application's", InWords(*by))
    }
}

struct InWords(Duration);

impl fmt::Display for InWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            0..90 => (seconds, "second"),
            90..5400 => ((seconds + 30) / 60, "minute"),
            5400..172_800 => ((seconds + 1800) / 3600, "hour"),
            _ => ((seconds + 43_200) / 86_400, "day"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_in_words_a_person_would_use() {
        let words = |seconds| InWords(Duration::from_secs(seconds)).to_string();
        for (seconds, said) in [
            (1, "1 second"),
            (89, "89 seconds"),
            (180, "3 minutes"),
            (170, "3 minutes"),
            (3600, "60 minutes"),
            (7200, "2 hours"),
            (86_400, "24 hours"),
            (31_536_000, "365 days"),
        ] {
            assert_eq!(words(seconds), said);
        }
        let ahead = ClockError::Ahead(Duration::from_secs(180)).to_string();
        assert_eq!(ahead, "your computer's clock is 3 minutes ahead of the application's");
    }

    #[test]
    fn off_by_what_neither_delay_nor_rounding_explains() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let after = |there, sent, answered| difference(at(there), at(sent), at(answered));
        assert_eq!(after(1000, 1000, 1000), None);
        assert_eq!(after(1000, 1005, 1005), None);
        assert_eq!(after(1000, 996, 996), None);
        assert_eq!(after(1000, 900, 1100), None, "a slow answer");
        assert_eq!(after(1000, 1181, 1181), Some(ClockError::Ahead(Duration::from_secs(180))));
        assert_eq!(after(1000, 810, 820), Some(ClockError::Behind(Duration::from_secs(180))));
    }

    #[test]
    fn told_once() {
        let off = |seconds| Some(ClockError::Ahead(Duration::from_secs(seconds)));
        assert!(is_news(None, off(60)) && is_news(off(60), None) && is_news(off(60), off(120)));
        assert!(is_news(off(60), Some(ClockError::Behind(Duration::from_secs(60)))));
        assert!(!is_news(off(60), off(61)) && !is_news(None, None));
    }
}
