//! Answers of our own in the place of the origin's: a page for people, JSON like every
//! [`Problem`] for programs. Neither repeats anything of the request.

use axum::body::Body;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use trefoil_https::Problem;

/// That an envelope did not hold, told to the agent (RFC 9110, section 11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has expired.
    Expired,
    /// Everything else.
    Rejected,
}

impl Refusal {
    const fn challenge(self) -> &'static str {
        match self {
            Self::Expired => "Trefoil error=\"share-expired\"",
            Self::Rejected => "Trefoil error=\"share-rejected\"",
        }
    }

    /// Marks an answer.
    pub(crate) fn mark(self, response: &mut Response) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge()));
    }

    /// What an answer is marked with.
    pub(crate) fn of(response: &Response) -> Option<Self> {
        let challenges = response.headers().get_all(WWW_AUTHENTICATE);
        let is = |refusal: &Self| challenges.iter().any(|found| found == refusal.challenge());
        [Self::Expired, Self::Rejected].into_iter().find(is)
    }
}

/// In which form an answer of ours is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// HTML.
    Page,
    /// JSON.
    Problem,
}

impl Form {
    /// Browsers name HTML when a person is to see the answer, and no others do.
    pub(crate) fn of(request: &HeaderMap) -> Self {
        let accepted = request.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut kinds = accepted.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
        let page = kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/html"));
        if page { Self::Page } else { Self::Problem }
    }
}

/// The answer.
pub(crate) fn answer(problem: Problem, form: Form) -> Response {
    let mut response = match form {
        Form::Page => page(&problem),
        Form::Problem => problem.into_response(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn page(problem: &Problem) -> Response {
    let [message, hint, code] = [&problem.message, &problem.hint, &problem.code].map(|text| escape(text));
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Trefoil: {message}</title>\n\
         <style>body{{font:1.1em/1.5 sans-serif;max-width:40em;margin:4em auto;padding:0 1em}}</style>\n\
         <h1>{message}</h1>\n<p>{hint}</p>\n<p><small>Trefoil, {code}</small></p>\n</html>\n"
    );
    let mut response = (problem.status, Body::from(html)).into_response();
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    fields.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// As a sentence, and as text: reasons of the system may have signs of HTML in them.
fn escape(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let sentence: String = first.chain(letters).collect();
    sentence.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
