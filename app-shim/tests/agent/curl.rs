//! curl, a client that nobody here wrote.

use crate::agent::LIMIT;
use std::process::Command;

/// What curl got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of the last answer's head, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) http2: bool,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        let json: serde_json::Value = serde_json::from_str(&self.body).expect(&self.body);
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{self:?}");
        assert!(!json["message"].as_str().unwrap().is_empty() && !json["hint"].as_str().unwrap().is_empty());
    }
}

#[track_caller]
pub(crate) fn curl(arguments: &[&str]) -> Answer {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--no-buffer", "--noproxy", "*", "--max-time"])
        .arg(LIMIT.as_secs().to_string())
        .args(arguments)
        .output()
        .expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rest = text.as_str();
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").expect("a head");
        let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let status: u16 = first.split(' ').nth(1).unwrap().parse().unwrap();
        if status >= 200 {
            let head = fields
                .lines()
                .map(|line| match line.split_once(':') {
                    Some((name, value)) => format!("{}:{value}\n", name.to_ascii_lowercase()),
                    None => String::new(),
                })
                .collect();
            return Answer { status, head, body: body.to_owned(), http2: first.starts_with("HTTP/2") };
        }
        rest = body;
    }
}
