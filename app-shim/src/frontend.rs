//! The application's messages on their way to the proxy: finds where requests begin, puts the `K`
//! message there, and takes carriers off statement texts. All other bytes pass as they are.
//!
//! What a transaction's end undoes is known only when the server has answered. So while a setting is
//! unsettled, and before one changes, the next request waits until those before it are answered.

use crate::bind::{self, Parameters};
use crate::prepared::{Comments, Known, Prepared, PreparedStatements};
use crate::settings::{Beginning, Settings, Tag, Who};
use crate::shares::{Asks, Sent, Shares};
use crate::startup::Fatal;
use crate::statement::{self, Effect, Statements};
use crate::user_from::UserFrom;
use bytes::{Buf as _, BytesMut};
use std::sync::Arc;
use trefoil_keys::carrier::{comment, message};
use trefoil_keys::panics::panic_point;
use zeroize::Zeroizing;

/// Bytes from which a buffer counts as full.
pub(crate) const BOUND: usize = 64 * 1024;

/// Object id of `pg_catalog.set_config`, the same in every PostgreSQL.
const SET_CONFIG: [u8; 4] = 2077_u32.to_be_bytes();

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
    from: Arc<UserFrom>,
    max_message: usize,
    settings: Settings,
    statements: PreparedStatements,
    sent: Sent,
    /// Whether the last `K` of the request under way went by the settings as they are now, and then
    /// whether for statements that plainly read.
    plain: Option<bool>,
    /// The portal that was bound to a statement that sets something, until it is executed.
    bound: Option<Vec<u8>>,
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

/// What to do with the message at hand.
enum Treatment {
    Pass,
    Replace(Vec<u8>),
    Wait,
}

impl Frontend {
    /// A connection that began with these.
    pub(crate) fn new(
        shares: Arc<Shares>,
        from: Arc<UserFrom>,
        beginning: Beginning,
        max_message: usize,
    ) -> Self {
        Self {
            shares,
            settings: Settings::new(from.clone(), beginning),
            from,
            max_message,
            statements: PreparedStatements::default(),
            sent: Sent::default(),
            plain: None,
            bound: None,
            started: false,
            unanswered: 0,
            synced: false,
            passing: 0,
            key_message: Zeroizing::default(),
        }
    }

    /// The server sent ReadyForQuery.
    pub(crate) fn ready(&mut self, status: u8) {
        if self.started {
            self.statements.ready();
        }
        self.started = true;
        self.unanswered = self.unanswered.saturating_sub(1);
        self.settings.ready(status, self.unanswered == 0 && !self.sent.in_request);
    }

    /// The server completed a statement with this tag.
    pub(crate) fn completed(&mut self, tag: &[u8]) {
        if tag.starts_with(b"DEALLOCATE") || tag == b"DISCARD ALL" {
            self.statements.deallocated();
        }
        self.settings.completed(tag);
    }

    /// The server reported an error.
    pub(crate) fn failed(&mut self) {
        self.statements.failed();
        self.settings.failed();
    }

    /// The server has parsed or closed what it was asked to.
    pub(crate) fn done(&mut self) {
        self.statements.done();
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
            if input.len() < length && !self.is_enough(kind, length, arrived)? {
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

    /// Whether what has arrived of a message decides what to do with it.
    fn is_enough(&self, kind: u8, length: usize, arrived: &[u8]) -> Result<bool, Fatal> {
        Ok(match kind {
            b'Q' | b'P' if length > self.max_message => return Err(Fatal::TOO_LONG),
            b'Q' | b'P' => false,
            // Names of this length belong to no statement that matters.
            b'B' | b'C' if arrived.len() >= BOUND => true,
            b'B' => match bind::names(arrived).map(|(_, name, _)| self.statements.get(name)) {
                Some(Known::Prepared(prepared)) => !prepared.asks_parameters(),
                Some(_) => true,
                None => false,
            },
            b'C' | b'E' => false,
            b'F' => arrived.len() >= SET_CONFIG.len(),
            _ => true,
        })
    }

    /// Where requests begin and end.
    fn follow(&mut self, kind: u8) {
        match kind {
            b'Q' | b'F' | b'S' => {
                self.sent.in_request = false;
                self.statements.request_ended();
                self.unanswered += 1;
                self.synced = kind == b'S';
            }
            // The server ignored the Sync that came while it was waiting for COPY data.
            b'd' | b'c' | b'f' if self.synced => {
                self.sent.in_request = true;
                self.statements.request_goes_on();
                self.unanswered = self.unanswered.saturating_sub(1);
                self.synced = false;
            }
            _ => {}
        }
    }

    fn treat(&mut self, kind: u8, body: &[u8], output: &mut BytesMut) -> Result<Treatment, Fatal> {
        panic_point("sidecar.message", body);
        self.check_bound(kind, body);
        match kind {
            b'p' | b'X' | b'S' | b'd' | b'c' | b'f' => return Ok(Treatment::Pass),
            // The shim's own, and as unknown to PostgreSQL.
            message::TYPE => return Err(Fatal::PROTOCOL),
            _ if !self.sent.in_request && self.unanswered > 0 && self.settings.unsettled() => {
                return Ok(Treatment::Wait);
            }
            b'Q' => return self.query(body, output),
            b'P' => return self.parse(body, output),
            b'B' => return self.bind(body, output),
            b'C' => {
                if let Some(name) = body.strip_prefix(b"S").and_then(|name| name.strip_suffix(b"\0")) {
                    self.statements.close(name);
                } else {
                    self.statements.passes();
                }
            }
            b'F' if body.starts_with(&SET_CONFIG) => {
                self.settings.lose_what_the_database_keeps();
                self.plain = None;
            }
            _ => {}
        }
        if !self.sent.in_request {
            self.attach(&Comments::default(), matches!(kind, b'C' | b'D' | b'H'), output)?;
        }
        Ok(Treatment::Pass)
    }

    /// What was bound to set something takes effect when it is executed: that has to be at once.
    fn check_bound(&mut self, kind: u8, body: &[u8]) {
        let Some(portal) = &self.bound else { return };
        let executes =
            kind == b'E' && body.strip_prefix(portal.as_slice()).is_some_and(|rest| rest.first() == Some(&0));
        if matches!(kind, b'D' | b'H') {
            return;
        }
        if !executes {
            self.settings.lose_what_the_database_keeps();
            self.plain = None;
        }
        self.bound = None;
    }

    /// A text of any number of statements.
    fn query(&mut self, body: &[u8], output: &mut BytesMut) -> Result<Treatment, Fatal> {
        let Some(text) = body.strip_suffix(b"\0").filter(|text| !text.contains(&0)) else {
            self.attach(&Comments::default(), false, output)?;
            return Ok(Treatment::Pass);
        };
        let (comments, cut) = self.comments(text);
        let text = cut.as_deref().unwrap_or(text);
        let statements = statement::read(text, &self.from);
        if self.unanswered > 0 && statements.effects().any(Effect::changes) {
            return Ok(Treatment::Wait);
        }
        let asks = self.run(&statements, &comments);
        self.send(&asks, output)?;
        self.plain = None;
        let replaced = statements.without_shares(text).or(cut);
        replaced.map_or(Ok(Treatment::Pass), |text| Ok(Treatment::Replace(message(b'Q', b"", &text, b"\0")?)))
    }

    /// Notes what a text does; whose shares it needs. Where its statements would need those of different
    /// users, nobody's.
    fn run(&mut self, statements: &Statements, comments: &Comments) -> Asks {
        let reads = statements.plainly_read();
        let mut asks = self.asks(comments, reads);
        let mut decided = false;
        for statement in &statements.all {
            for effect in &statement.effects {
                let effect = match effect {
                    Effect::Call(call) => call.effect(&self.from, |_| None),
                    other => Some(other.clone()),
                };
                if let Some(effect) = effect {
                    self.apply(&effect);
                }
            }
            if !statement.touches_data || (decided && asks.who == Who::Unclear) {
                continue;
            }
            let now = self.asks(comments, reads);
            if decided && now != asks {
                asks = Asks { who: Who::Unclear, envelope: None, reads };
                self.settings.lose_what_was_set(statements.effects());
            } else {
                asks = now;
            }
            decided = true;
        }
        asks
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Deallocate(name) => self.statements.deallocate(name.as_deref()),
            Effect::DiscardAll => self.statements.deallocate(None),
            _ => {}
        }
        self.settings.apply(effect);
    }

    fn parse(&mut self, body: &[u8], output: &mut BytesMut) -> Result<Treatment, Fatal> {
        let Some((name, original, rest)) = bind::names(body) else {
            self.statements.passes();
            self.attach(&Comments::default(), false, output)?;
            return Ok(Treatment::Pass);
        };
        let (comments, cut) = self.comments(original);
        let text = cut.as_deref().unwrap_or(original);
        let mut statements = statement::read(text, &self.from);
        self.attach(&comments, statements.plainly_read(), output)?;
        let replaced = statements.without_shares(text).or_else(|| cut.clone());
        let treatment = match replaced {
            None => Treatment::Pass,
            Some(text) => {
                Treatment::Replace(message(b'P', &[name, b"\0"].concat(), &text, &[b"\0", rest].concat())?)
            }
        };
        // The server takes one statement.
        let statement = statements.all.pop().unwrap_or_default();
        let types = bind::declared(rest);
        self.statements.put(name, Prepared { comments, statement, types });
        Ok(treatment)
    }

    fn bind(&mut self, body: &[u8], output: &mut BytesMut) -> Result<Treatment, Fatal> {
        let (portal, name, rest) = bind::names(body).unwrap_or_default();
        let prepared = match self.statements.get(name) {
            Known::Prepared(prepared) => prepared,
            Known::Plain => {
                if !name.is_empty() {
                    // PREPARE may have made it.
                    self.settings.apply(&Effect::Run);
                }
                self.attach(&Comments::default(), false, output)?;
                return Ok(Treatment::Pass);
            }
            Known::Forgotten => {
                self.settings.lose_what_the_database_keeps();
                self.send(&Asks { who: Who::Unclear, envelope: None, reads: false }, output)?;
                self.plain = None;
                return Ok(Treatment::Pass);
            }
        };
        if prepared.changes() && self.unanswered > 0 {
            return Ok(Treatment::Wait);
        }
        let (comments, reads) = (&prepared.comments, prepared.statement.plainly_reads);
        if !prepared.statement.touches_data {
            self.attach(comments, reads, output)?;
        }
        let parameters = if prepared.asks_parameters() { Parameters::read(rest) } else { None };
        let read = |number| parameters.as_ref()?.argument(number, &prepared.types);
        let effects: Vec<Effect> = prepared.effects(&self.from, read).collect();
        for effect in &effects {
            self.apply(effect);
        }
        if effects.iter().any(Effect::changes) {
            self.plain = None;
            self.bound = Some(portal.to_owned());
        }
        if prepared.statement.touches_data {
            self.attach(comments, reads, output)?;
        }
        Ok(Treatment::Pass)
    }

    /// What a text's comments say, and the text without what must not go on.
    fn comments(&self, text: &[u8]) -> (Comments, Option<Vec<u8>>) {
        // A malformed comment passes: the proxy refuses it as part of the conversation.
        let taken = comment::take(text).unwrap_or_default();
        let left = taken.as_ref().map_or(text, |taken| taken.text.as_slice());
        let tag = match self.from.comment.as_deref().map(|key| comment::tag(left, key)) {
            None | Some(Ok(None)) => Tag::None,
            Some(Ok(Some(user))) => Tag::User(user),
            Some(Err(_)) => Tag::Unclear,
        };
        let (carriers, cut) = taken.map(|taken| (taken.carriers, taken.text)).unzip();
        (Comments { carriers, tag }, cut)
    }

    /// Whose shares a statement with these comments needs now.
    fn asks(&self, comments: &Comments, reads: bool) -> Asks {
        let carriers = comments.carriers.as_ref();
        let who = match carriers.and_then(|carriers| carriers.user.clone()) {
            Some(user) => Who::User(user),
            None => self.settings.who(&comments.tag),
        };
        match (carriers.and_then(|carriers| carriers.envelope.as_deref()), self.settings.envelope()) {
            (Some(envelope), _) => Asks { who, envelope: Some(envelope.to_owned()), reads },
            (None, Ok(envelope)) => Asks { who, envelope: envelope.map(str::to_owned), reads },
            (None, Err(_)) => Asks { who: Who::Unclear, envelope: None, reads },
        }
    }

    /// Puts a `K` message into the output unless the request has had the right one.
    fn attach(&mut self, comments: &Comments, reads: bool, output: &mut BytesMut) -> Result<(), Fatal> {
        let commented = comments.say_something();
        if !commented && self.plain == Some(reads) && self.sent.in_request {
            return Ok(());
        }
        let asks = self.asks(comments, reads);
        self.send(&asks, output)?;
        self.plain = (!commented).then_some(reads);
        Ok(())
    }

    fn send(&mut self, asks: &Asks, output: &mut BytesMut) -> Result<(), Fatal> {
        self.shares.attach(asks, &mut self.sent, &mut self.key_message)?;
        output.extend_from_slice(&self.key_message);
        self.key_message.clear();
        Ok(())
    }
}

fn message(kind: u8, name: &[u8], text: &[u8], rest: &[u8]) -> Result<Vec<u8>, Fatal> {
    let length = u32::try_from(4 + name.len() + text.len() + rest.len()).map_err(|_| Fatal::TOO_LONG)?;
    Ok([&[kind][..], &length.to_be_bytes(), name, text, rest].concat())
}
