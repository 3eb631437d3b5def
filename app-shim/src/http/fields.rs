//! Fields that end at this hop (RFC 9110, section 7.6.1), and the two that carry a user and its envelope.

use axum::http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};

/// Names the user (UId).
pub(crate) const USER: HeaderName = HeaderName::from_static("trefoil-user");
/// Holds the user's envelope.
pub(crate) const ENVELOPE: HeaderName = HeaderName::from_static("trefoil-envelope");

/// Where an agent finds the tenant admin's announcement of the proxy's keys.
pub(crate) const ANNOUNCEMENT_PATH: &str = "/.well-known/trefoil/announcement";
/// Of what type it is (RFC 7515, section 9.2.1).
pub(crate) const ANNOUNCEMENT_TYPE: &str = "application/jose";

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Takes every field out whose name is one of the two carriers', also with underscores: gateways in the
/// manner of CGI make the same variable of `Trefoil_User`.
pub(crate) fn remove_carriers(headers: &mut HeaderMap) {
    let is_carrier = |name: &&HeaderName| {
        let name = name.as_str().replace('_', "-");
        name == USER.as_str() || name == ENVELOPE.as_str()
    };
    let found: Vec<HeaderName> = headers.keys().filter(is_carrier).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Takes out what is for this connection alone: the standard's own list, and what `Connection` names.
/// That the peer takes trailers is said anew, since they are passed on.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let takes_trailers = lists(headers, &TE, "trailers");
    let named: Vec<HeaderName> =
        elements(headers, &CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
    // Without a host a request would be for somebody else.
    for name in named.into_iter().filter(|name| *name != HOST) {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Whether one of the elements of a comma-separated field is this one.
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    elements(headers, name).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
}

fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<String> {
        let mut names: Vec<String> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn carriers_go_in_every_spelling_and_number() {
        let mut some = headers(&[
            ("Trefoil-User", "a"),
            ("TREFOIL-USER", "b"),
            ("trefoil_user", "c"),
            ("Trefoil_Envelope", "d"),
            ("trefoil-Envelope", "e"),
            ("trefoil-users", "stays"),
            ("x-trefoil-user", "stays"),
        ]);
        remove_carriers(&mut some);
        assert_eq!(names(&some), ["trefoil-users", "x-trefoil-user"]);
    }

    #[test]
    fn what_is_for_one_connection_ends_here() {
        let mut some = headers(&[
            ("connection", "close, X-Hop"),
            ("connection", "x-other ,, host, \u{e9}"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("host", "here"),
            ("trailer", "x-checksum"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut some);
        assert_eq!(names(&some), ["accept", "host", "trailer"]);
        let mut some = headers(&[("te", "gzip, Trailers")]);
        remove_hop_by_hop(&mut some);
        assert_eq!((some[TE].as_bytes(), some[CONNECTION].as_bytes()), (&b"trailers"[..], &b"te"[..]));
    }
}
