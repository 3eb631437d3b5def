//! The agent's own addresses, and how the application's stand in for them: what the browser says of the
//! agent's, the application hears as its own, and the other way round. Otherwise its checks of `Origin`
//! would fail, and its redirects lead out of the agent.

use crate::http::Origin;
use axum::http::header::{HOST, HeaderMap, HeaderValue, LOCATION, ORIGIN, REFERER, SET_COOKIE};
use std::net::SocketAddr;

/// The addresses.
#[derive(Clone)]
pub(super) struct Places {
    /// Hosts with a port as `Host` has them.
    hosts: Vec<String>,
    /// The application's.
    origin: String,
}

impl Places {
    /// Of an agent that listens on `address`, also called `names`.
    pub(super) fn new(address: SocketAddr, names: &[String], origin: &Origin) -> Self {
        let port = address.port();
        let names = names.iter().cloned().chain([address_host(address), "localhost".to_owned()]);
        // The default port is not written.
        let hosts = names.map(|name| if port == 80 { name } else { format!("{name}:{port}") });
        Self { hosts: hosts.collect(), origin: origin.to_string() }
    }

    /// The address to be opened in the browser.
    pub(super) fn preferred(&self) -> String {
        format!("http://{}", self.hosts.first().map_or("", String::as_str))
    }

    /// Whether it is the agent that is named so.
    pub(super) fn is_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Whether it is the agent's origin.
    pub(super) fn is_own(&self, origin: &str) -> bool {
        origin.strip_prefix("http://").is_some_and(|host| self.is_host(host))
    }

    /// The fields of a request.
    pub(super) fn towards_origin(&self, headers: &mut HeaderMap) {
        // The client names the origin's.
        headers.remove(HOST);
        for name in [ORIGIN, REFERER] {
            let value = headers.get(&name).and_then(|value| value.to_str().ok());
            let translated = value.and_then(|value| {
                let (own, path) = split(value);
                self.is_own(own).then(|| format!("{}{path}", self.origin))
            });
            if let Some(Ok(value)) = translated.map(HeaderValue::try_from) {
                headers.insert(name, value);
            }
        }
    }

    /// The fields of an answer.
    pub(super) fn towards_browser(&self, headers: &mut HeaderMap) {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let relative = location.and_then(|value| {
            let (origin, path) = split(value);
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            // Two slashes would be another host.
            (origin.eq_ignore_ascii_case(&self.origin) && !path.starts_with("//")).then_some(path)
        });
        if let Some(Ok(value)) = relative.map(HeaderValue::try_from) {
            headers.insert(LOCATION, value);
        }
        // A cookie for the application's domain would not be taken from the agent's address.
        let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().map(without_domain).collect();
        headers.remove(SET_COOKIE);
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

fn address_host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// Scheme and host, and the rest.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(url.len(), |scheme| scheme + 3);
    let end = url.get(host..).and_then(|rest| rest.find(['/', '?', '#']));
    url.split_at(end.map_or(url.len(), |end| host + end))
}

fn without_domain(cookie: &HeaderValue) -> HeaderValue {
    let Ok(text) = cookie.to_str() else { return cookie.clone() };
    let is_domain = |part: &&str| {
        let name = part.split('=').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("domain")
    };
    let mut parts = text.split(';');
    // The first is the cookie itself, whatever it is called.
    let kept: Vec<&str> = parts.next().into_iter().chain(parts.filter(|part| !is_domain(part))).collect();
    HeaderValue::try_from(kept.join(";")).unwrap_or_else(|_| cookie.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new("127.0.0.1:8480".parse().unwrap(), &[], &"https://app.example".parse().unwrap())
    }

    fn through(way: impl Fn(&Places, &mut HeaderMap), name: &'static str, value: &str) -> String {
        let mut headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        way(&places(), &mut headers);
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_application_hears_of_itself() {
        let towards = |name, value: &str| through(Places::towards_origin, name, value);
        assert_eq!(towards("origin", "http://localhost:8480"), "https://app.example");
        assert_eq!(towards("referer", "http://127.0.0.1:8480/a?b"), "https://app.example/a?b");
        for foreign in ["https://evil.example", "null", "http://localhost:8480.evil.example/"] {
            assert_eq!(towards("origin", foreign), foreign);
        }
    }

    #[test]
    fn the_browser_stays_with_the_agent() {
        let towards = |value: &str| through(Places::towards_browser, "location", value);
        assert_eq!(towards("https://app.example/a?b#c"), "/a?b#c");
        assert_eq!(towards("https://APP.example"), "/");
        assert_eq!(towards("https://app.example?a"), "/?a");
        for other in [
            "/a",
            "https://login.example/",
            "https://app.example.evil.example/",
            "https://app.example//evil.example/",
            "http://app.example/",
            "https://app.example@evil.example/",
        ] {
            assert_eq!(towards(other), other);
        }
        let cookie = |value: &str| through(Places::towards_browser, "set-cookie", value);
        assert_eq!(cookie("a=b; Domain=app.example; Secure"), "a=b; Secure");
        assert_eq!(cookie("domain=b; HttpOnly; DOMAIN=.example"), "domain=b; HttpOnly");
    }
}
