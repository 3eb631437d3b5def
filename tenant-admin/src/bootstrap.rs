//! `bootstrap`: fetches the tenant key from the proxy, once.
//!
//! Claim → tenant key durable in the vault → confirm → status. Each step is in the vault before the next
//! one begins, so that a run that was interrupted anywhere is finished by the next one: with the tenant key
//! that the proxy gave last, which is the only one that it lets be confirmed.

use crate::answer::{Answer, Keyspaces};
use crate::commands::{CommandError, Opened, Session, now};
use crate::content::{Claiming, Stage};
use crate::network::{NetworkError, Peer, parse_url};
use crate::tenant::history::Event;
use crate::tenant::{Tenant, parse_name};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use trefoil_keys::bundle::CheckValue;
use trefoil_keys::envelope::Sealed;
use trefoil_keys::handover::Handover;
use trefoil_keys::secret::Share;
use trefoil_keys::status::{State, Status};
use trefoil_keys::tls::Fingerprint;
use trefoil_keys::{kill_point, private_file, signing};
use zeroize::Zeroizing;

#[derive(Args)]
pub(crate) struct BootstrapArguments {
    /// The proxy's admin port; not needed to go on after an interruption.
    #[arg(long, value_parser = parse_url, requires = "fingerprint")]
    url: Option<String>,
    /// SHA-256 of the certificate there, as trefoil-proxy init has printed it.
    #[arg(long, value_name = "HEX", requires = "url")]
    fingerprint: Option<Fingerprint>,
    /// Read the one-time password from this file descriptor instead of asking for it.
    #[arg(long, value_name = "N")]
    password_fd: Option<u32>,
}

/// Why the bootstrap did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootstrapError {
    #[error(
        "there is no vault yet: name the proxy with --url and --fingerprint, as trefoil-proxy init has printed them"
    )]
    NoProxy,
    #[error("the vault's bootstrap is finished; choose another --vault for another tenant")]
    Finished,
    #[error(
        "the vault holds a tenant key from {0}, which that proxy may have taken for confirmed; finish that bootstrap (without --url), or choose another --vault"
    )]
    OtherProxy(String),
    #[error(
        "the bootstrap at {0} is burnt: nobody gets a tenant key there any more; on the proxy run trefoil-proxy init --anew, then bootstrap again with what it prints"
    )]
    Burnt(String),
    #[error(
        "the tenant key at {0} went to somebody else, who has finished the bootstrap; find out who, and make the proxy anew with: trefoil-proxy init --anew --forget-everything"
    )]
    TakenByOther(String),
    #[error(
        "the proxy at {0} says that the bootstrap is finished, but not with the keys of this vault; ask who else bootstraps it"
    )]
    Mismatch(String),
    #[error("the proxy hands over a tenant key again and again; look at its log")]
    Endless,
    #[error(transparent)]
    Network(#[from] NetworkError),
}

#[derive(Serialize)]
struct ClaimBody<'a> {
    password: &'a str,
    claim: &'a str,
}

#[derive(Serialize)]
struct ConfirmBody<'a> {
    claim: &'a str,
    check_values: BTreeMap<String, CheckValue>,
}

/// What the proxy makes of a confirmation.
enum Confirmed {
    Yes,
    ClaimAgain,
}

pub(crate) fn run(session: &Session, arguments: BootstrapArguments) -> Result<Answer, CommandError> {
    let mut opened = begin(session, &arguments)?;
    let mut password = None;
    // A second claim follows a confirmation that came too late; a third would be a proxy gone wrong.
    for _ in 0..3 {
        match &opened.content.stage {
            Stage::Claiming(claiming) => {
                let claiming = claiming.clone();
                let tenant = claim(&claiming, &mut password, arguments.password_fd)?;
                opened.content.stage = Stage::Claimed(claiming, tenant);
                opened.store()?;
                kill_point("admin.stored");
            }
            Stage::Claimed(claiming, tenant) => {
                let claiming = claiming.clone();
                match confirm(&claiming, tenant) {
                    Ok(Confirmed::Yes) => return finish(session, opened, &claiming),
                    // The key in the vault is good for nothing, but stays until the next one replaces it.
                    Ok(Confirmed::ClaimAgain) => opened.content.stage = Stage::Claiming(claiming),
                    Err(error) => {
                        if matches!(error, BootstrapError::Burnt(_)) {
                            opened.content.stage = Stage::Claiming(claiming);
                            opened.store()?;
                        }
                        return Err(error.into());
                    }
                }
            }
            Stage::Awaiting(_) => return Err(CommandError::AwaitsHandover),
            Stage::Ready(_) => return Err(BootstrapError::Finished.into()),
        }
    }
    Err(BootstrapError::Endless.into())
}

/// The vault at the stage where the bootstrap stands; a new one only once the proxy has answered.
fn begin<'a>(session: &'a Session, arguments: &BootstrapArguments) -> Result<Opened<'a>, CommandError> {
    let named = arguments.url.clone().zip(arguments.fingerprint);
    if !session.vault.path().exists() {
        let (url, fingerprint) = named.ok_or(BootstrapError::NoProxy)?;
        let claiming = Claiming::new(url, fingerprint);
        require_claimable(&claiming)?;
        let opened = session.create(Stage::Claiming(claiming))?;
        kill_point("admin.claiming");
        return Ok(opened);
    }
    let mut opened = session.open()?;
    let other = |claiming: &Claiming| {
        named
            .clone()
            .filter(|(url, fingerprint)| *url != claiming.url || *fingerprint != claiming.fingerprint)
    };
    let replaced = match &opened.content.stage {
        Stage::Claiming(claiming) => other(claiming).map(|(url, pin)| Claiming::new(url, pin)),
        Stage::Claimed(claiming, _) if other(claiming).is_some() => {
            return Err(BootstrapError::OtherProxy(claiming.url.clone()).into());
        }
        _ => None,
    };
    if let Some(claiming) = replaced {
        require_claimable(&claiming)?;
        opened.content.stage = Stage::Claiming(claiming);
        opened.store()?;
    }
    Ok(opened)
}

impl Claiming {
    fn new(url: String, fingerprint: Fingerprint) -> Self {
        Self { url, fingerprint, claim: Share::random().to_base64url().to_string() }
    }

    fn peer(&self) -> Result<Peer, NetworkError> {
        Peer::new(&self.url, self.fingerprint, None)
    }
}

/// Asks before any secret is asked for or sent.
fn require_claimable(claiming: &Claiming) -> Result<Status, BootstrapError> {
    let status = claiming.peer()?.first_status()?;
    match status.state {
        State::Open | State::Claimed => Ok(status),
        State::Burnt => Err(BootstrapError::Burnt(claiming.url.clone())),
        State::Ready => Err(BootstrapError::TakenByOther(claiming.url.clone())),
    }
}

/// Asks the proxy for a tenant key; for the password it asks once in a run, and not before it is needed.
fn claim(
    claiming: &Claiming,
    known: &mut Option<Zeroizing<String>>,
    password_fd: Option<u32>,
) -> Result<Tenant, CommandError> {
    require_claimable(claiming)?;
    let password = match known.take() {
        Some(password) => password,
        None => trefoil_passphrase::password(password_fd, "one-time password of the proxy")?,
    };
    let peer = claiming.peer().map_err(BootstrapError::from)?;
    let body = ClaimBody { password: known.insert(password), claim: &claiming.claim };
    let body = private_file::to_json(&body).map_err(|_| BootstrapError::from(peer.malformed("claim")))?;
    let answer = peer.post("/v1/bootstrap/claim", body).map_err(|error| at_end(error, claiming))?;
    kill_point("admin.claimed");
    let handover = Handover::from_claims(&answer.body)
        .ok()
        .filter(|handover| {
            [&handover.tenant, &handover.application].into_iter().all(|name| parse_name(name).is_ok())
        })
        .ok_or_else(|| BootstrapError::from(peer.malformed("hand-over")))?;
    let mut tenant = Tenant::from_handover(handover);
    tenant.proxy.url = Some(claiming.url.clone());
    tenant.proxy.fingerprint = Some(claiming.fingerprint);
    Ok(tenant)
}

fn confirm(claiming: &Claiming, tenant: &Tenant) -> Result<Confirmed, BootstrapError> {
    let peer = claiming.peer()?;
    let body = ConfirmBody { claim: &claiming.claim, check_values: tenant.check_values() };
    let body = private_file::to_json(&body).map_err(|_| peer.malformed("check value"))?;
    if let Err(error) = peer.post("/v1/bootstrap/confirm", body) {
        return match error.code() {
            Some("claim-again" | "not-claimed") => Ok(Confirmed::ClaimAgain),
            // Perhaps by an earlier run of ours, whose answer was lost: the status tells.
            Some("closed") => verify_finished(&peer, claiming, tenant).map(|()| Confirmed::Yes),
            _ => Err(at_end(error, claiming)),
        };
    }
    kill_point("admin.confirmed");
    verify_finished(&peer, claiming, tenant).map(|()| Confirmed::Yes)
}

/// The proxy's signed word that it was this claim, and that it knows this vault's keys.
fn verify_finished(peer: &Peer, claiming: &Claiming, tenant: &Tenant) -> Result<(), BootstrapError> {
    let status = peer.status(&tenant.proxy.receipt_key)?;
    let ours = status.state == State::Ready
        && status.claim_sha256 == Some(signing::hash(&claiming.claim))
        && status.tenant_key.as_ref() == Some(tenant.signing_key.verifying_key())
        && status.tenant == tenant.name;
    if ours { Ok(()) } else { Err(BootstrapError::Mismatch(claiming.url.clone())) }
}

fn at_end(error: NetworkError, claiming: &Claiming) -> BootstrapError {
    match error.code() {
        Some("burnt") => BootstrapError::Burnt(claiming.url.clone()),
        Some("closed" | "other-claim") => BootstrapError::TakenByOther(claiming.url.clone()),
        _ => BootstrapError::Network(error),
    }
}

fn finish(session: &Session, mut opened: Opened<'_>, claiming: &Claiming) -> Result<Answer, CommandError> {
    let stage = std::mem::replace(&mut opened.content.stage, Stage::Claiming(claiming.clone()));
    let Stage::Claimed(_, mut tenant) = stage else {
        return Err(CommandError::NotBootstrapped);
    };
    let (url, fingerprint) = (claiming.url.clone(), claiming.fingerprint.to_string());
    tenant.record(now()?, Event::Bootstrapped { url, fingerprint });
    let answer = Answer::new(&Bootstrapped::of(&tenant, session.vault.path().to_owned()));
    opened.content.stage = Stage::Ready(tenant);
    opened.store()?;
    kill_point("admin.ready");
    Ok(answer)
}

#[derive(Serialize)]
#[serde(tag = "result", rename = "bootstrapped")]
pub(crate) struct Bootstrapped {
    tenant: String,
    application: String,
    keyspaces: BTreeMap<String, u8>,
    envelope_key_id: String,
    receipt_key_id: String,
    vault: PathBuf,
}

impl Bootstrapped {
    pub(crate) fn of(tenant: &Tenant, vault: PathBuf) -> Self {
        let kid = tenant.envelope_key().map(|key| key.kid().to_owned());
        Self {
            tenant: tenant.name.clone(),
            application: tenant.application.clone(),
            keyspaces: tenant.epochs(),
            envelope_key_id: kid.unwrap_or_default(),
            receipt_key_id: tenant.proxy.receipt_key.kid(),
            vault,
        }
    }
}

impl fmt::Display for Bootstrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Tenant {} bootstrapped for application {}.", self.tenant, self.application)?;
        writeln!(f, "  keyspaces     {}", Keyspaces { of: &self.keyspaces, by_role: None })?;
        writeln!(f, "  envelope key  {}", self.envelope_key_id)?;
        writeln!(f, "  receipt key   {}", self.receipt_key_id)?;
        writeln!(f, "  vault         {}", self.vault.display())?;
        writeln!(f, "Without the vault or its passphrase the tenant's data is lost: keep a copy of both.")?;
        writeln!(f, "Next: trefoil-admin application set, then user add.")
    }
}
