//! What a request gets, by its path and method: the first rule that fits decides.

use super::gate::Visitor;
use crate::config::{Grant, Rule};
use crate::issuer::Series;
use axum::http::Method;
use percent_encoding::percent_decode_str;
use trefoil_keys::envelope::Scope;

/// The rules; the last one fits everything.
pub(super) struct Rules(Vec<Compiled>);

struct Compiled {
    path: String,
    methods: Vec<Method>,
    /// For methods that are safe, and for the others.
    grants: [Option<Granted>; 2],
}

struct Granted {
    scope: Scope,
    series: Series,
}

impl Rules {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let granted =
            |grant: Grant| grant.map(|limits| Granted { scope: limits.scope, series: Series::new(limits) });
        let compiled = rules.into_iter().map(|Rule { path, methods, grants }| Compiled {
            path,
            methods,
            grants: grants.map(granted),
        });
        Self(compiled.collect())
    }

    /// The envelopes for a request; `None` if it gets none.
    pub(super) fn series(&self, method: &Method, path: &str, visitor: Visitor) -> Option<&Series> {
        // What it answers with repeats the request: nothing secret may be in it (RFC 9110, 9.3.8).
        if visitor == Visitor::Stranger || *method == Method::TRACE {
            return None;
        }
        let path = normalized(path);
        let fits = |rule: &&Compiled| {
            (rule.methods.is_empty() || rule.methods.contains(method))
                && matches(rule.path.as_bytes(), path.as_bytes())
        };
        let [safe, other] = &self.0.iter().find(fits)?.grants;
        let granted = if method.is_safe() { safe } else { other };
        let allowed = |granted: &&Granted| visitor == Visitor::User || granted.scope == Scope::Read;
        granted.as_ref().filter(allowed).map(|granted| &granted.series)
    }
}

/// As most applications understand it: decoded, without empty segments, `.` and `..`, so that a rule is not
/// got round by another spelling.
fn normalized(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy().replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let end = if decoded.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// `*` is any part of a segment, `**` any part of a path.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let any = |rest: &[u8], ends: usize| {
        (0..=ends).any(|end| path.get(end..).is_some_and(|path| matches(rest, path)))
    };
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => any(rest, path.len()),
        [b'*', rest @ ..] => any(rest, path.iter().position(|byte| *byte == b'/').unwrap_or(path.len())),
        [first, rest @ ..] => {
            path.split_first().is_some_and(|(byte, path)| byte == first && matches(rest, path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Limits;

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/a", false),
            ("/a**", "/a", true),
            ("**", "/a/b", true),
            ("**/export", "/a/b/export", true),
            ("/*.css", "/a.css", true),
            ("/*.css", "/a/b.css", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn another_spelling_is_the_same_path() {
        for path in
            ["/pay/now", "//pay///now", "/%70ay/now", "/x/../pay/./now", "/x/%2e%2E/pay\\now", "/pay%2Fnow"]
        {
            assert_eq!(normalized(path), "/pay/now", "{path}");
        }
        assert_eq!(normalized("/../.."), "/");
        assert_eq!(normalized("/a/"), "/a/");
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let limits = |scope| Some(Limits::new(scope, 60));
        let rule = |path: &str, methods: &[Method], grants| Rule {
            path: path.to_owned(),
            methods: methods.to_vec(),
            grants,
        };
        let (read, write) = (limits(Scope::Read), limits(Scope::Write));
        let rules = Rules::new(vec![
            rule("/static/**", &[], [None, None]),
            rule("/socket", &[Method::GET], [write.clone(), write.clone()]),
            rule("**", &[], [read, write]),
        ]);
        let scope = |method: Method, path, visitor| {
            let series = rules.series(&method, path, visitor)?;
            let all = rules.0.iter().flat_map(|rule| rule.grants.iter().flatten());
            Some(all.into_iter().find(|granted| std::ptr::eq(&granted.series, series))?.scope)
        };
        let user = Visitor::User;
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(scope(method, "/", user), Some(Scope::Read));
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert_eq!(scope(method, "/socket", user), Some(Scope::Write));
        }
        assert_eq!(scope(Method::TRACE, "/", user), None);
        assert_eq!(scope(Method::GET, "/socket", user), Some(Scope::Write));
        assert_eq!(scope(Method::POST, "/%73tatic/x", user), None);
        assert_eq!(scope(Method::GET, "/", Visitor::FollowedLink), Some(Scope::Read));
        assert_eq!(scope(Method::GET, "/socket", Visitor::FollowedLink), None);
        assert_eq!(scope(Method::GET, "/", Visitor::Stranger), None);
    }
}
