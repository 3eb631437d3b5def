//! What the audit log gets of a session: each statement that uses keys, before anything of it is shown
//! where the log blocks, and its end, however it ends; and refusals.

use super::carriers::Keys;
use super::login;
use super::names::Portal;
use crate::audit::{Audit, Progress, Ticket};
use crate::error::{ClientError, Code};
use crate::policy::{Denied, ProtectedColumn};
use crate::sql::{self, Plan, ResultColumn};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;
use tokio::sync::watch;
use trefoil_keys::audit::MAX_BODY;

/// Longest text of a client's own choice that is recorded, in characters.
const SHOWN: usize = 128;

/// Who the session is.
#[derive(Serialize)]
pub(super) struct Identity<'a> {
    /// The session's number, as the proxy's log has it.
    pub(super) session: u64,
    /// The client's address.
    pub(super) client: &'a str,
    pub(super) database: &'a str,
    pub(super) role: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) application_name: &'a str,
}

/// A session's way to the log.
pub(super) struct Trail {
    audit: Arc<Audit>,
    /// `Identity`, as the members of a JSON object.
    identity: String,
    session: u64,
    statements: u64,
    progress: watch::Receiver<Progress>,
    /// Until the session has begun.
    login: Option<Box<login::Record>>,
}

/// The beginning of a client's own text.
pub(super) fn shown(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

impl Trail {
    /// Of a client that has logged in so.
    pub(super) fn new(audit: &Arc<Audit>, identity: &Identity<'_>, login: login::Record) -> Self {
        let members = serde_json::to_string(identity).unwrap_or_default();
        Self {
            audit: Arc::clone(audit),
            identity: members.trim_start_matches('{').trim_end_matches('}').to_owned(),
            session: identity.session,
            statements: 0,
            progress: audit.progress(),
            login: Some(Box::new(login)),
        }
    }

    /// The database has begun the session. Logins that come to nothing are in the proxy's log alone: whoever can
    /// connect could fill this one with them.
    pub(super) fn begun(&mut self) {
        if let Some(login) = self.login.take() {
            self.audit.record("login", &login);
        }
    }

    /// A statement that uses keys is about to be sent. `cursors` are those that it fetches from.
    pub(super) fn access(
        &mut self,
        keys: &Keys,
        plan: &Plan,
        cursors: &[&Portal],
    ) -> Result<Box<Access>, ClientError> {
        let live = &keys.live;
        self.statements += 1;
        let mut subject = format!(
            "{},\"statement\":{},\"user\":{},\"application\":{}",
            self.identity,
            self.statements,
            quoted(shown(live.user())),
            quoted(live.application()),
        );
        if !plan.summary.is_empty() {
            let _ = write!(subject, ",{}", plan.summary);
        }
        sql::summaries(&mut subject, "fetches", cursors.iter().map(|cursor| cursor.plan.summary.as_str()));
        let own = plan.statements.iter().filter_map(|statement| statement.results.as_ref());
        let theirs = cursors.iter().filter_map(|cursor| Some(cursor.shape.as_ref()?.columns()));
        let mut masked = Vec::new();
        for column in own.chain(theirs).flat_map(|columns| columns.iter()) {
            if let ResultColumn::Cell(column) = column
                && is_masked(column, keys)?
            {
                masked.push(format!("{}.{}", column.table, column.name));
            }
        }
        if !masked.is_empty() {
            masked.sort();
            masked.dedup();
            let _ = write!(subject, ",\"masked\":{}", serde_json::to_string(&masked).unwrap_or_default());
        }
        if subject.len() > MAX_BODY {
            return Err(ClientError::new(
                "54000",
                "what the audit log would have to say of this statement is too long",
                "Run fewer different prepared statements or cursors in one text.",
            ));
        }
        let mut access = Box::new(Access {
            audit: Arc::clone(&self.audit),
            event: "statement",
            subject,
            ticket: None,
            rows: 0,
            counted: 0,
            outcome: Outcome::Unanswered,
        });
        if self.audit.is_blocking() {
            if self.progress.borrow().faulty {
                access.event = "";
                return Err(unwritable());
            }
            let ticket = self.audit.offer(format!("\"event\":\"access\",{}", access.subject));
            access.event = if ticket.is_some() { "done" } else { "" };
            access.ticket = Some(ticket.ok_or_else(unwritable)?);
            access.subject = format!(
                "\"session\":{},\"statement\":{},\"user\":{}",
                self.session,
                self.statements,
                quoted(shown(live.user()))
            );
        }
        Ok(access)
    }

    /// A statement is refused. `user` is who is claimed to ask; `summary` what is known of the statement.
    pub(super) fn refused(&self, user: Option<&str>, error: &ClientError, summary: &str) {
        let mut body = format!("\"event\":\"refused\",{}", self.identity);
        if let Some(user) = user {
            let _ = write!(body, ",\"user\":{}", quoted(shown(user)));
        }
        if !summary.is_empty() && summary.len() <= MAX_BODY {
            let _ = write!(body, ",{summary}");
        }
        if let Some(about) = &error.about {
            for (member, names) in [("tables", &about.tables), ("columns", &about.columns)] {
                if !names.is_empty() {
                    let _ =
                        write!(body, ",\"{member}\":{}", serde_json::to_string(names).unwrap_or_default());
                }
            }
        }
        failure(&mut body, error.sqlstate, error.code);
        self.audit.offer(body);
    }

    /// Whether this record is durable; an error if the log cannot be written.
    pub(super) fn includes(&mut self, ticket: Ticket) -> Result<bool, ClientError> {
        let progress = *self.progress.borrow_and_update();
        match (progress.includes(ticket), progress.faulty) {
            (true, _) => Ok(true),
            (false, true) => Err(unwritable()),
            (false, false) => Ok(false),
        }
    }

    /// Waits until the log has come further than [`Self::includes`] saw it last.
    pub(super) async fn moves(&mut self) {
        if self.progress.changed().await.is_err() {
            // No writer any more: the proxy stops.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether the user sees something else in the column's place.
fn is_masked(column: &ProtectedColumn, keys: &Keys) -> Result<bool, ClientError> {
    Ok(!matches!(column.denied, Denied::Refuse) && !keys.live.grants(&column.keyspace)?)
}

fn unwritable() -> ClientError {
    ClientError::refused(
        Code::AuditLog,
        "the audit log cannot be written, and nothing is shown unrecorded",
        "Try again when the proxy's disk has room; the proxy's log says what is wrong.",
    )
}

fn failure(body: &mut String, sqlstate: &str, code: Option<Code>) {
    let _ = write!(body, ",\"outcome\":\"error\",\"sqlstate\":{}", quoted(sqlstate));
    if let Some(code) = code {
        let _ = write!(body, ",\"code\":\"{}\"", code.id());
    }
}

/// How a statement ended.
enum Outcome {
    /// The server has not answered: it passed over the message, or the session ended before.
    Unanswered,
    Ok,
    /// There may be more rows.
    Suspended,
    Error(String, Option<Code>),
}

/// A statement that uses keys, from when it is sent until it is answered. Its end is recorded when this
/// is dropped, so that no way of ending a session leaves it out.
pub(super) struct Access {
    audit: Arc<Audit>,
    /// What its end is called; none if it was not recorded that it began.
    event: &'static str,
    subject: String,
    ticket: Option<Ticket>,
    rows: u64,
    /// Rows since the last of its statements was answered.
    counted: u64,
    outcome: Outcome,
}

impl Access {
    /// What has to be durable before anything of its answer is treated; `None` if nothing has.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    /// It is durable.
    pub(super) fn recorded(&mut self) {
        self.ticket = None;
    }

    /// Rows were treated.
    pub(super) fn count(&mut self, rows: u64) {
        self.rows += rows;
        self.counted += rows;
    }

    /// One of its statements is answered; the server speaks of so many rows.
    pub(super) fn completed(&mut self, rows: Option<u64>) {
        if let Some(rows) = rows {
            self.rows = self.rows - self.counted + rows;
        }
        self.counted = 0;
        self.outcome = Outcome::Ok;
    }

    /// Its portal has been run for as many rows as were asked for.
    pub(super) fn suspended(&mut self) {
        self.outcome = Outcome::Suspended;
    }

    /// It failed. Of what the server says, only what is a SQLSTATE is recorded.
    pub(super) fn failed(&mut self, sqlstate: &[u8], code: Option<Code>) {
        let plain = sqlstate.len() == 5 && sqlstate.iter().all(u8::is_ascii_alphanumeric);
        let sqlstate = if plain { String::from_utf8_lossy(sqlstate).into_owned() } else { String::new() };
        self.outcome = Outcome::Error(sqlstate, code);
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if self.event.is_empty() {
            return;
        }
        let mut body = format!("\"event\":\"{}\",{},\"rows\":{}", self.event, self.subject, self.rows);
        match &self.outcome {
            Outcome::Ok => body.push_str(",\"outcome\":\"ok\""),
            Outcome::Suspended => body.push_str(",\"outcome\":\"suspended\""),
            Outcome::Unanswered => body.push_str(",\"outcome\":\"unanswered\""),
            Outcome::Error(sqlstate, code) => failure(&mut body, sqlstate, *code),
        }
        self.audit.offer(body);
    }
}
