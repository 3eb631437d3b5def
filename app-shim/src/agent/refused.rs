//! What the user reads when the application's second door did not accept the share.

use super::clock::ClockError;
use crate::http::Refusal;
use axum::http::StatusCode;
use trefoil_https::Problem;

const EXPIRED: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "share-expired",
    "your proof of access had expired when it arrived",
    "load the page again. If that happens each time, the application allows only shorter ones: set \
     envelope_lifetime to less in the agent's configuration",
);
const REJECTED: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "share-rejected",
    "your share was not accepted",
    "load the page again in a minute: the keys may have changed just now. If it is still refused, your \
     access was withdrawn, or your share replaced by a newer one: ask your tenant admin",
);

/// In words.
pub(super) fn problem(refusal: Refusal, clock: Option<ClockError>) -> Problem {
    let problem = match refusal {
        Refusal::Expired => EXPIRED,
        Refusal::Rejected => REJECTED,
    };
    let Some(error) = clock else { return problem };
    Problem {
        hint: "set it right, best by network time, and load the page again".into(),
        ..problem.saying(error.to_string())
    }
}
