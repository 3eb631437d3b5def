//! The application's messages on their way to the proxy: finds where requests begin, puts the `K`
//! message there, and takes carriers off statement texts. All other bytes pass as they are.
//!
//! What a transaction's end undoes is known only when the server has answered. So while a setting is
//! unsettled, and before one changes, the next request waits until those before it are answered.

use crate::set_statement::{self, REPLACEMENT, SetStatement};
use crate::settings::Settings;
use crate::shares::{Sent, Shares};
use crate::startup::Fatal;
use bytes::{Buf as _, BytesMut};
use std::collections::HashMap;
use std::sync::Arc;
use trefoil_keys::carrier::{Carriers, comment};
use zeroize::Zeroizing;

/// Bytes from which a buffer counts as full.
pub(crate) const BOUND: usize = 64 * 1024;

/// Most prepared statements with carriers of their own that one connection may keep; those after
/// them count as having none.
const MAX_STATEMENTS: usize = 1024;

/// Why [`Frontend::process`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// More from the application.
    Input,
    /// Room in the output.
    Output,
    /// Answers from the server.
    Answers,
}

/// One connection's requests.
pub(crate) struct Frontend {
    shares: Arc<Shares>,
    max_message: usize,
    pub(crate) settings: Settings,
    statements: HashMap<Vec<u8>, Meaning>,
    sent: Sent,
    /// Whether the request under way has what the settings say, and they have not changed since.
    plain: bool,
    /// Whether the first ReadyForQuery has come.
    started: bool,
    /// Requests that are not answered by ReadyForQuery yet.
    unanswered: usize,
    /// Whether the last request was ended by Sync: a COPY may still go on behind it.
    synced: bool,
    /// Bytes of a message under way that pass unseen.
    passing: usize,
    key_message: Zeroizing<Vec<u8>>,
}

/// What executing a prepared statement means.
enum Meaning {
    Set(SetStatement),
    Comment(Carriers),
}

/// What to do with the message at hand.
enum Treatment {
    Pass,
    Replace(Vec<u8>),
    Wait,
}

impl Frontend {
    /// A connection that was started with these carriers.
    pub(crate) fn new(shares: Arc<Shares>, startup: Carriers, max_message: usize) -> Self {
        Self {
            shares,
            max_message,
            settings: Settings::new(startup),
            statements: HashMap::new(),
            sent: Sent::default(),
            plain: false,
            started: false,
            unanswered: 0,
            synced: false,
            passing: 0,
            key_message: Zeroizing::default(),
        }
    }

    /// The server sent ReadyForQuery.
    pub(crate) fn ready(&mut self, status: u8) {
        self.started = true;
        self.unanswered = self.unanswered.saturating_sub(1);
        self.settings.ready(status);
    }

    /// Moves messages from `input` to `output`, as far as can be.
    pub(crate) fn process(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Need, Fatal> {
        loop {
            if self.passing > 0 {
                let length = self.passing.min(input.len());
                output.extend_from_slice(input.get(..length).unwrap_or_default());
                input.advance(length);
                self.passing -= length;
            }
            if output.len() >= BOUND {
                return Ok(Need::Output);
            }
            let Some(&[kind, a, b, c, d]) = input.first_chunk::<5>() else { return Ok(Need::Input) };
            let length = u32::from_be_bytes([a, b, c, d]);
            if length < 4 {
                return Err(Fatal::PROTOCOL);
            }
            let length = usize::try_from(length).map_err(|_| Fatal::PROTOCOL)?.saturating_add(1);
            if !self.started && !matches!(kind, b'p' | b'X') {
                return Ok(Need::Answers);
            }
            let arrived = input.get(5..length.min(input.len())).unwrap_or_default();
            let seen = input.len() >= length
                || match kind {
                    b'Q' | b'P' if length > self.max_message => return Err(Fatal::TOO_LONG),
                    b'Q' | b'P' => false,
                    // Their names decide, and come first; those of other statements do not matter.
                    b'B' | b'C' if self.statements.is_empty() || arrived.len() >= BOUND => true,
                    b'B' => arrived.iter().filter(|&&byte| byte == 0).count() >= 2,
                    b'C' => false,
                    _ => true,
                };
            if !seen {
                return Ok(Need::Input);
            }
            match self.treat(kind, arrived, output)? {
                Treatment::Pass => self.passing = length,
                Treatment::Wait => return Ok(Need::Answers),
                Treatment::Replace(message) => {
                    output.extend_from_slice(&message);
                    input.advance(length);
                }
            }
            self.follow(kind);
        }
    }

    /// Where requests begin and end.
    fn follow(&mut self, kind: u8) {
        match kind {
            b'Q' | b'F' | b'S' => {
                self.sent.in_request = false;
                self.unanswered += 1;
                self.synced = kind == b'S';
            }
            // The server ignored the Sync that came while it was waiting for COPY data.
            b'd' | b'c' | b'f' if self.synced => {
                self.sent.in_request = true;
                self.unanswered = self.unanswered.saturating_sub(1);
                self.synced = false;
            }
            _ => {}
        }
    }

    fn treat(&mut self, kind: u8, body: &[u8], output: &mut BytesMut) -> Result<Treatment, Fatal> {
        match kind {
            b'p' | b'X' | b'S' | b'd' | b'c' | b'f' => return Ok(Treatment::Pass),
            _ if !self.sent.in_request && self.unanswered > 0 && self.settings.unsettled() => {
                return Ok(Treatment::Wait);
            }
            b'Q' | b'P' => return self.text(kind, body, output),
            b'B' => return self.bind(body, output),
            b'C' => {
                if let Some(name) = body.strip_prefix(b"S").and_then(|name| name.strip_suffix(b"\0")) {
                    self.statements.remove(name);
                }
            }
            _ => {}
        }
        if !self.sent.in_request {
            self.attach(None, output)?;
        }
        Ok(Treatment::Pass)
    }

    /// Query and Parse.
    fn text(&mut self, kind: u8, body: &[u8], output: &mut BytesMut) -> Result<Treatment, Fatal> {
        let Some((name, text, rest)) = split_text(kind, body) else {
            self.attach(None, output)?;
            return Ok(Treatment::Pass);
        };
        // A malformed comment passes: the proxy refuses it as part of the conversation.
        let mut taken = comment::take(text).unwrap_or_default();
        let text = taken.as_ref().map_or(text, |taken| taken.text.as_slice());
        let set = set_statement::recognise(text);
        if set.is_some() && kind == b'Q' && self.unanswered > 0 {
            return Ok(Treatment::Wait);
        }
        self.settings.note(text);
        self.attach(taken.as_ref().map(|taken| &taken.carriers), output)?;
        let replaced = set.as_ref().and_then(|(_, range)| replace(text, range.clone()?));
        let treatment = match (&replaced, &taken) {
            (Some(text), _) => Treatment::Replace(message(kind, name, text, rest)?),
            (None, Some(taken)) => Treatment::Replace(message(kind, name, &taken.text, rest)?),
            (None, None) => Treatment::Pass,
        };
        let set = set.map(|(set, _)| set);
        if kind == b'Q' {
            if let Some(set) = set {
                self.set(&set);
            }
        } else {
            let name = name.strip_suffix(b"\0").unwrap_or(name);
            let comment = taken.take().map(|taken| Meaning::Comment(taken.carriers));
            self.statements.remove(name);
            if let Some(meaning) = set.map(Meaning::Set).or(comment)
                && self.statements.len() < MAX_STATEMENTS
            {
                self.statements.insert(name.to_vec(), meaning);
            }
        }
        Ok(treatment)
    }

    fn bind(&mut self, body: &[u8], output: &mut BytesMut) -> Result<Treatment, Fatal> {
        let mut names = body.split(|&byte| byte == 0);
        let statement = names.nth(1).unwrap_or_default();
        // Taken out and put back, so that it is not borrowed while attaching.
        let Some((name, meaning)) = self.statements.remove_entry(statement) else {
            self.attach(None, output)?;
            return Ok(Treatment::Pass);
        };
        let treatment = match &meaning {
            Meaning::Set(_) if self.unanswered > 0 => Treatment::Wait,
            Meaning::Set(set) => {
                self.attach(None, output)?;
                self.set(set);
                Treatment::Pass
            }
            Meaning::Comment(carriers) => {
                self.attach(Some(carriers), output)?;
                Treatment::Pass
            }
        };
        self.statements.insert(name, meaning);
        Ok(treatment)
    }

    fn set(&mut self, statement: &SetStatement) {
        self.settings.set(statement);
        self.plain = false;
    }

    /// Puts a `K` message into the output unless the request has had the right one.
    fn attach(&mut self, comment: Option<&Carriers>, output: &mut BytesMut) -> Result<(), Fatal> {
        if comment.is_none() && self.plain && self.sent.in_request {
            return Ok(());
        }
        let user = comment.and_then(|comment| comment.user.as_deref()).or(self.settings.user());
        let envelope = comment.and_then(|comment| comment.envelope.as_deref()).or(self.settings.envelope());
        self.shares.attach(user, envelope, &mut self.sent, &mut self.key_message)?;
        output.extend_from_slice(&self.key_message);
        self.key_message.clear();
        self.plain = comment.is_none();
        Ok(())
    }
}

/// The name (with its NUL; empty in a Query), the text, and what follows it (from its NUL on).
fn split_text(kind: u8, body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = |bytes: &[u8]| bytes.iter().position(|&byte| byte == 0);
    let (name, rest) = if kind == b'P' { body.split_at_checked(end(body)? + 1)? } else { (&[][..], body) };
    let (text, rest) = rest.split_at_checked(end(rest)?)?;
    Some((name, text, rest))
}

fn replace(text: &[u8], range: std::ops::Range<usize>) -> Option<Vec<u8>> {
    Some([text.get(..range.start)?, REPLACEMENT, text.get(range.end..)?].concat())
}

fn message(kind: u8, name: &[u8], text: &[u8], rest: &[u8]) -> Result<Vec<u8>, Fatal> {
    let length = u32::try_from(4 + name.len() + text.len() + rest.len()).map_err(|_| Fatal::TOO_LONG)?;
    Ok([&[kind][..], &length.to_be_bytes(), name, text, rest].concat())
}
