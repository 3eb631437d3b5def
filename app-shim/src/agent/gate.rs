//! Who may ask, and for what: a page of any site can have the user's browser send requests to a loopback
//! address.
//!
//! - Requests that name another host are refused: a name that its owner lets point to 127.0.0.1 (DNS
//!   rebinding) makes the agent a part of that site for the browser.
//! - Nothing is passed on elsewhere: neither the absolute form nor CONNECT is served.
//! - What the browser says a request comes from (`Sec-Fetch-Site`, which pages cannot set, else `Origin`)
//!   decides whether it gets an envelope. Another site's gets none, except where a person follows a link
//!   to the application: that is for reading, as with cookies of `SameSite=Lax`. Other ports of
//!   `localhost` are another site here, although browsers count them as the same. What a frame of another
//!   site loads is answered so that it is not shown there.

use super::place::Places;
use axum::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use axum::http::{Method, Request, StatusCode, Version};
use trefoil_https::Problem;

const NO_TUNNEL: Problem = Problem::new(
    StatusCode::FORBIDDEN,
    "connect",
    "the agent makes no connections to other hosts",
    "do not set it as the browser's proxy; open its address in the browser",
);
const ELSEWHERE: Problem = Problem::new(
    StatusCode::MISDIRECTED_REQUEST,
    "misdirected",
    "the request is not for this agent",
    "open the address that the agent prints when it starts; further names of it are set by `names`, and it \
     is not to be set as the browser's proxy",
);

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// On whose behalf a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// The user's: typed in, from a page of the application, or of a program that is no browser.
    User,
    /// The user's, who came by a link on another site.
    FollowedLink,
    /// Another site's.
    Stranger,
}

/// What looks at requests first.
pub(super) struct Gate {
    places: Places,
}

impl Gate {
    pub(super) fn new(places: Places) -> Self {
        Self { places }
    }

    /// On whose behalf the request is.
    ///
    /// # Errors
    /// 403 or 421 if it is not for this agent.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Visitor, Problem> {
        if request.method() == Method::CONNECT {
            return Err(NO_TUNNEL);
        }
        if !self.is_for_us(request) {
            return Err(ELSEWHERE);
        }
        Ok(self.visitor(request.method(), request.headers()))
    }

    fn is_for_us<B>(&self, request: &Request<B>) -> bool {
        let hosts = request.headers().get_all(HOST).iter().map(|host| host.to_str().ok());
        let named = request.uri().authority().map(|authority| Some(authority.as_str()));
        // Over HTTP/1.1, a scheme and host is the form for proxies.
        let absolute = named.is_some() && request.version() != Version::HTTP_2;
        let all: Vec<_> = named.into_iter().chain(hosts).collect();
        !absolute
            && request.uri().path_and_query().is_some_and(|path| path.as_str().starts_with('/'))
            && !all.is_empty()
            && all.windows(2).all(|pair| pair.first() == pair.last())
            && all.iter().all(|host| host.is_some_and(|host| self.places.is_host(host)))
    }

    fn visitor(&self, method: &Method, headers: &HeaderMap) -> Visitor {
        let only = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            let first = values.next().map(|value| value.to_str().unwrap_or_default());
            // Two that differ are of nobody's making.
            first.map(|first| if values.all(|other| other == first) { first } else { "" })
        };
        match (only(SITE), only(ORIGIN)) {
            (Some("same-origin" | "none"), _) | (None, None) => Visitor::User,
            (Some("cross-site" | "same-site"), _)
                if matches!(*method, Method::GET | Method::HEAD)
                    && only(MODE) == Some("navigate")
                    && only(DESTINATION) == Some("document") =>
            {
                Visitor::FollowedLink
            }
            (None, Some(origin)) if self.places.is_own(origin) => Visitor::User,
            _ => Visitor::Stranger,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Visitor::{FollowedLink, Stranger, User};
    use super::*;

    fn gate() -> Gate {
        let origin = "https://app.example".parse().unwrap();
        Gate::new(Places::new("127.0.0.1:8480".parse().unwrap(), &["clinic.localhost".to_owned()], &origin))
    }

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let version = if uri.starts_with('h') { Version::HTTP_2 } else { Version::HTTP_11 };
        let builder = Request::builder().method(method).uri(uri).version(version);
        fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    #[test]
    fn only_what_names_the_agent_is_served() {
        for host in ["127.0.0.1:8480", "localhost:8480", "LOCALHOST:8480", "clinic.localhost:8480"] {
            assert_eq!(gate().admit(&request("GET", "/", &[("host", host)])), Ok(User), "{host}");
            assert_eq!(gate().admit(&request("GET", &format!("http://{host}/"), &[])), Ok(User));
        }
        for host in ["evil.example", "evil.example:8480", "127.0.0.1", "127.0.0.1:80", "app.example", "", "é"]
        {
            assert_eq!(gate().admit(&request("GET", "/", &[("host", host)])), Err(ELSEWHERE), "{host}");
        }
        let own = ("host", "127.0.0.1:8480");
        assert_eq!(gate().admit(&request("GET", "/", &[])), Err(ELSEWHERE));
        let two = [own, ("host", "evil.example")];
        assert_eq!(gate().admit(&request("GET", "/", &two)), Err(ELSEWHERE));
        assert_eq!(gate().admit(&request("GET", "http://evil.example/", &[own])), Err(ELSEWHERE));
        let mut absolute = request("GET", "http://127.0.0.1:8480/", &[own]);
        assert_eq!(gate().admit(&absolute), Ok(User));
        *absolute.version_mut() = Version::HTTP_11;
        assert_eq!(gate().admit(&absolute), Err(ELSEWHERE));
        assert_eq!(gate().admit(&request("OPTIONS", "*", &[own])), Err(ELSEWHERE));
        assert_eq!(gate().admit(&request("CONNECT", "127.0.0.1:8480", &[own])), Err(NO_TUNNEL));
    }

    #[test]
    fn what_another_site_sends_is_known_by_what_the_browser_says() {
        let visitor = |method: &str, fields: &[(&str, &str)]| {
            let all = [&[("host", "127.0.0.1:8480")], fields].concat();
            gate().admit(&request(method, "/", &all)).unwrap()
        };
        let site = |site| ("sec-fetch-site", site);
        let (navigate, document) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
        assert_eq!(visitor("POST", &[]), User);
        assert_eq!(visitor("POST", &[site("same-origin"), ("origin", "null")]), User);
        assert_eq!(visitor("GET", &[site("none"), navigate, document]), User);
        assert_eq!(visitor("POST", &[("origin", "http://127.0.0.1:8480")]), User);
        assert_eq!(visitor("POST", &[("origin", "http://clinic.localhost:8480")]), User);
        for site in [site("cross-site"), site("same-site")] {
            assert_eq!(visitor("GET", &[site]), Stranger);
            assert_eq!(visitor("GET", &[site, ("origin", "http://127.0.0.1:8480")]), Stranger);
            assert_eq!(visitor("GET", &[site, navigate, document]), FollowedLink);
            assert_eq!(visitor("GET", &[site, navigate, ("sec-fetch-dest", "iframe")]), Stranger);
            assert_eq!(visitor("POST", &[site, navigate, document]), Stranger);
        }
        for origin in ["https://evil.example", "http://127.0.0.1:8481", "https://127.0.0.1:8480", "null", ""]
        {
            assert_eq!(visitor("GET", &[("origin", origin)]), Stranger, "{origin}");
        }
        assert_eq!(visitor("GET", &[site("same-origin"), site("cross-site")]), Stranger);
        assert_eq!(visitor("GET", &[site("newer")]), Stranger);
    }
}
