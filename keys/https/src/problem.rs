//! What a refused request is answered with: `{"code", "message", "hint"}` as JSON. All three are
//! written for the reader at the other end, and hold nothing of the request.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// A stable name for programs: `too-large`, `not-found`, ….
    pub code: Cow<'static, str>,
    /// What is wrong.
    pub message: Cow<'static, str>,
    /// What to do about it.
    pub hint: Cow<'static, str>,
}

/// The body of the answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProblemBody {
    /// [`Problem::code`].
    pub code: String,
    /// [`Problem::message`].
    pub message: String,
    /// [`Problem::hint`].
    pub hint: String,
}

impl Problem {
    /// A refusal whose texts are all fixed.
    pub const fn new(
        status: StatusCode,
        code: &'static str,
        message: &'static str,
        hint: &'static str,
    ) -> Self {
        Self { status, code: Cow::Borrowed(code), message: Cow::Borrowed(message), hint: Cow::Borrowed(hint) }
    }

    /// The same with another message.
    #[must_use]
    pub fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.message = message.into();
        self
    }

    /// No such path.
    pub const NOT_FOUND: Self = Self::new(
        StatusCode::NOT_FOUND,
        "not-found",
        "there is no such path",
        "see docs/admin.md for the paths, and use programs of one release",
    );
    /// No such method on this path.
    pub const METHOD: Self = Self::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this path has no such method",
        "see docs/admin.md for the paths, and use programs of one release",
    );
    /// A body beyond its limit.
    pub const TOO_LARGE: Self = Self::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "the body is too large",
        "send smaller batches",
    );
    /// The peer broke off, or sent no proper HTTP.
    pub const BROKEN_BODY: Self =
        Self::new(StatusCode::BAD_REQUEST, "body", "the body did not arrive as a whole", "send it again");
    /// The body comes too slowly.
    pub const SLOW_BODY: Self = Self::new(
        StatusCode::REQUEST_TIMEOUT,
        "slow-body",
        "the body did not arrive in time",
        "send it again over a faster connection",
    );
    /// The disk fails.
    pub const STORE: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "store",
        "the program's store cannot be read or written",
        "make room on its disk: /health says what is wrong, and when it is over; then send it again",
    );
    /// Something failed that is not the peer's doing.
    pub const INTERNAL: Self = Self::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the request could not be carried out",
        "the program's log says why",
    );
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            code: self.code.into_owned(),
            message: self.message.into_owned(),
            hint: self.hint.into_owned(),
        };
        (self.status, Json(body)).into_response()
    }
}

/// For [`axum::Router::fallback`].
pub async fn not_found() -> Problem {
    Problem::NOT_FOUND
}

/// For [`axum::Router::method_not_allowed_fallback`].
pub async fn method_not_allowed() -> Problem {
    Problem::METHOD
}
