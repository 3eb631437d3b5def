//! `status`: the proxy's signed word about itself, compared with the vault.

use crate::answer::{self, Answer};
use crate::application::{self, ApplicationError, Peers};
use crate::commands::{CommandError, Session};
use crate::network::{NetworkError, Peer};
use crate::push::Sending;
use crate::tenant::Tenant;
use clap::Args;
use serde::Serialize;
use std::fmt;
use trefoil_keys::audit::Head;
use trefoil_keys::status::{State, Status};

#[derive(Args)]
pub(crate) struct StatusArguments {
    /// Ask the proxy itself, and not the application.
    #[arg(long)]
    proxy: bool,
    #[command(flatten)]
    sending: Sending,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    #[error(
        "the vault does not know the proxy's address, since the tenant key came in a file; ask through the application, without --proxy"
    )]
    NoProxy,
    #[error(transparent)]
    Network(#[from] NetworkError),
}

pub(crate) fn run(session: &Session, arguments: &StatusArguments) -> Result<Answer, CommandError> {
    let tenant = session.read()?;
    let key = &tenant.proxy.receipt_key;
    let mut pairs = Vec::new();
    let (status, jws) = if arguments.proxy {
        let proxy = tenant.proxy.url.as_deref().zip(tenant.proxy.fingerprint);
        let (url, fingerprint) = proxy.ok_or(StatusError::NoProxy)?;
        let peer = Peer::new(url, fingerprint, None).map_err(StatusError::from)?;
        peer.signed_status(key).map_err(StatusError::from)?
    } else {
        let peers = application::peers(&tenant, arguments.sending.password_fd)?;
        ask_pairs(&tenant, &peers, &mut pairs)?
    };
    let compared = Compared::new(&tenant, &status, jws, pairs);
    let differs = !compared.differences.is_empty();
    Ok(Answer::new(&compared).unconfirmed(differs))
}

/// The status of the proxy that has come furthest, and of several what each has come to.
fn ask_pairs(
    tenant: &Tenant,
    peers: &Peers,
    pairs: &mut Vec<Pair>,
) -> Result<(Status, String), ApplicationError> {
    let (mut furthest, mut failure): (Option<(Status, String)>, _) = (None, None);
    for (pair, peer) in peers {
        let mut seen =
            Pair { name: pair.clone(), seq: None, lacks: tenant.lacked_by(pair).count(), problem: None };
        match peer.signed_status(&tenant.proxy.receipt_key) {
            Ok((status, jws)) => {
                seen.seq = Some(status.seq);
                if furthest.as_ref().is_none_or(|(other, _)| other.seq < status.seq) {
                    furthest = Some((status, jws));
                }
            }
            Err(error) => {
                seen.problem = Some(error.to_string());
                failure = failure.or(Some(error));
            }
        }
        pairs.push(seen);
    }
    if let [_] = peers.as_slice() {
        pairs.clear();
    }
    furthest.ok_or_else(|| failure.map_or(ApplicationError::Unknown, ApplicationError::from))
}

/// One pair of several.
#[derive(Serialize)]
struct Pair {
    name: String,
    /// Number of the last command that its proxy applied.
    seq: Option<u64>,
    /// Commands that the vault has for it.
    lacks: usize,
    /// Why there is no status.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Pair {
    fn difference(&self, last: u64) -> Option<String> {
        let Self { name, seq, lacks, problem } = self;
        match (seq, problem) {
            (_, Some(problem)) => Some(format!("pair {name} gives no status: {problem}")),
            _ if *lacks > 0 => Some(format!("pair {name} lacks {}: push", answer::count(*lacks, "command"))),
            (Some(seq), None) if *seq < last => Some(format!(
                "pair {name} has applied commands up to {seq}, another one up to {last}: make it anew as a copy of that one"
            )),
            _ => None,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "status")]
struct Compared {
    tenant: String,
    application: String,
    state: State,
    /// RFC 3339, UTC; by the proxy's clock.
    at: String,
    /// Number of the last command that the proxy applied.
    seq: u64,
    /// Commands without receipt in the vault.
    unconfirmed: usize,
    envelope_key_id: String,
    /// How far the proxy's audit log has come, if it keeps one.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Head>,
    /// If there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pairs: Vec<Pair>,
    differences: Vec<String>,
    /// What the proxy has signed: for `audit verify --status`.
    jws: String,
}

impl Compared {
    fn new(tenant: &Tenant, status: &Status, jws: String, pairs: Vec<Pair>) -> Self {
        let mut differences = Vec::new();
        let mut expect = |right: bool, difference: &str| {
            if !right {
                differences.push(difference.to_owned());
            }
        };
        expect(status.tenant == tenant.name, "the proxy serves another tenant");
        expect(status.application == tenant.application, "the proxy serves another application");
        expect(status.state == State::Ready, "the proxy's bootstrap is not finished");
        expect(
            status.tenant_key.as_ref() == Some(tenant.signing_key.verifying_key()),
            "the proxy takes commands signed by another key than the vault's",
        );
        expect(status.keyspaces == tenant.epochs(), "keyspaces or epochs differ");
        let (confirmed, last) = (tenant.confirmed_seq(), tenant.next_seq().saturating_sub(1));
        expect(
            status.seq <= last,
            "the proxy has applied commands that this vault does not know: an older copy of it, or a recovered one? The next push takes the proxy's numbers over, and then no user's share is certain; better restore the newest backup. See user sync",
        );
        expect(
            status.seq >= confirmed,
            "the proxy has lost commands that it had confirmed: restore its newest backup, or have it made anew: proxy appoint",
        );
        expect(
            status.seq <= confirmed || status.seq > last,
            "the proxy has applied commands whose receipts are missing here: push, or receipt FILE",
        );
        let current = status.envelope_keys.first();
        expect(
            current == tenant.proxy.envelope_keys.first(),
            "the proxy's key for envelopes is another one than the vault's: is a key rotation without receipt?",
        );
        expect(
            tenant.renewal().is_none() || tenant.left_to_renew() == 0,
            "a renewal has not come to all users: renew-shares",
        );
        differences.extend(pairs.iter().filter_map(|pair| pair.difference(status.seq)));
        let unknown = tenant.without_share().count();
        if unknown > 0 {
            let remedy = "user show names them; give each a new one: user rekey";
            differences
                .push(format!("the shares of {} are unknown: {remedy}", answer::count(unknown, "user")));
        }
        Self {
            tenant: status.tenant.clone(),
            application: status.application.clone(),
            state: status.state,
            at: answer::time(status.at),
            seq: status.seq,
            unconfirmed: tenant.pending().count(),
            envelope_key_id: current.map(|key| key.kid().to_owned()).unwrap_or_default(),
            audit: status.audit.clone(),
            pairs,
            differences,
            jws,
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Open => "open",
            State::Claimed => "claimed",
            State::Ready => "ready",
            State::Burnt => "burnt",
        };
        writeln!(f, "Proxy of tenant {}, application {}: {state}", self.tenant, self.application)?;
        writeln!(f, "  last command  {}", self.seq)?;
        writeln!(f, "  unconfirmed   {}", self.unconfirmed)?;
        writeln!(f, "  envelope key  {}", self.envelope_key_id)?;
        writeln!(f, "  its clock     {}", self.at)?;
        if let Some(audit) = &self.audit {
            writeln!(f, "  audit log     {}", format_args!("{} records", audit.records))?;
        }
        for Pair { name, seq, lacks, .. } in &self.pairs {
            let seq = seq.map_or_else(|| "?".to_owned(), |seq| seq.to_string());
            writeln!(f, "  pair {name:<9}last command {seq}, lacks {lacks}")?;
        }
        for difference in &self.differences {
            writeln!(f, "But: {difference}.")?;
        }
        Ok(())
    }
}
