//! The shares that a client presents, by the three carriers, and how long each is kept: K messages
//! and comments for one request, settings as PostgreSQL keeps settings.

#[cfg(test)]
mod tests;

use super::limits::Demand;
use crate::error::{ClientError, Code, sqlstate};
use crate::shares::{ApplicationShare, Burst, Envelope, LiveEnvelope, Shares};
use crate::sql::SettingChange;
use std::sync::Arc;
use std::time::SystemTime;
use trefoil_keys::carrier::{Carriers, MalformedCarrier, app_share, message::KeyMessage};
use zeroize::Zeroizing;

/// What a request's cells are opened with. Dropped with the last of the request's replies.
pub(super) struct Keys {
    pub(super) live: Arc<LiveEnvelope>,
    pub(super) application: Arc<ApplicationShare>,
}

impl Keys {
    /// The burst for these: the one that goes on, if it is, or else a new one in its place.
    pub(super) fn burst<'b>(&self, shares: &Shares, burst: &'b mut Option<Burst>) -> &'b mut Burst {
        if burst.as_ref().is_some_and(|burst| !burst.is_of(&self.live, &self.application)) {
            *burst = None;
        }
        burst.get_or_insert_with(|| shares.burst(&self.live, &self.application))
    }
}

/// The application's shares as they were presented: in guarded memory from then on.
type Application = Option<Result<Arc<ApplicationShare>, MalformedCarrier>>;

/// What is presented.
#[derive(Default)]
struct Held {
    user: Option<String>,
    envelope: Option<Arc<Envelope>>,
    application: Application,
}

/// What a setting is set to.
enum Value {
    User(Option<String>),
    Envelope(Option<Arc<Envelope>>),
    Application(Application),
}

/// What limits a statement without keys.
struct Limits {
    /// Who presents the envelope.
    user: String,
    /// The envelope.
    envelope: Arc<Envelope>,
    /// `None` if it cannot be used.
    live: Option<Arc<LiveEnvelope>>,
    /// Whether it is what is presented now. Where something was presented since, that is to be compared.
    current: bool,
}

/// What is presented now.
struct Now<'a> {
    user: Option<&'a str>,
    envelope: Option<&'a Arc<Envelope>>,
    application: Option<&'a Result<Arc<ApplicationShare>, MalformedCarrier>>,
}

impl<'a> Now<'a> {
    fn of(held: &'a Held) -> Self {
        let Held { user, envelope, application } = held;
        Self { user: user.as_deref(), envelope: envelope.as_ref(), application: application.as_ref() }
    }

    fn set(&mut self, value: &'a Value) {
        match value {
            Value::User(user) => self.user = user.as_deref(),
            Value::Envelope(envelope) => self.envelope = envelope.as_ref(),
            Value::Application(application) => self.application = application.as_ref(),
        }
    }

    /// With what `other` has where this has nothing.
    fn or(self, other: Self) -> Self {
        Self {
            user: self.user.or(other.user),
            envelope: self.envelope.or(other.envelope),
            application: self.application.or(other.application),
        }
    }
}

/// A setting changed in a transaction that has not ended.
struct Change {
    name: &'static str,
    value: Value,
    local: bool,
    segment: u64,
}

/// What the client has presented.
#[derive(Default)]
pub(super) struct Presented {
    /// Whether the client speaks the protocol extension: then only K messages count.
    pub(super) extension: bool,
    /// From the K message or the comments of this request.
    request: Held,
    /// The envelope of the last K message that had one.
    last_envelope: Option<Arc<Envelope>>,
    /// Settings that outlive the transaction.
    settings: Held,
    changes: Vec<Change>,
    /// Whether the running transaction's changes will not stay.
    rolled_back: bool,
    /// This request's keys, once they were needed.
    keys: Option<Arc<Keys>>,
    /// The envelope that was presented when a statement without keys was held against its limits last. It is
    /// looked at once, however often it is presented again.
    limits: Option<Limits>,
}

impl Value {
    fn of(name: &str, text: Option<Zeroizing<String>>) -> Self {
        let text = text.filter(|text| !text.is_empty());
        match name {
            "user" => Self::User(text.map(|text| text.to_string())),
            "envelope" => Self::Envelope(text.map(|text| Arc::new(Envelope::new(text.as_str())))),
            _ => Self::Application(application(text.as_ref().map(|text| text.as_str()))),
        }
    }
}

impl Held {
    fn of(carriers: Carriers) -> Self {
        let Carriers { user, envelope, app_share } = carriers;
        let envelope = envelope.map(|text| Arc::new(Envelope::new(text)));
        Self { user, envelope, application: application(app_share.as_ref().map(|text| text.as_str())) }
    }

    fn set(&mut self, value: &Value) {
        match value {
            Value::User(user) => self.user.clone_from(user),
            Value::Envelope(envelope) => self.envelope.clone_from(envelope),
            Value::Application(application) => self.application.clone_from(application),
        }
    }

    /// With what `other` has where this has nothing.
    fn or(self, other: Self) -> Self {
        Self {
            user: self.user.or(other.user),
            envelope: self.envelope.or(other.envelope),
            application: self.application.or(other.application),
        }
    }
}

fn application(text: Option<&str>) -> Application {
    let text = text.filter(|text| !text.is_empty())?;
    Some(app_share::parse(text).map(|shares| Arc::new(ApplicationShare(shares))))
}

fn malformed(error: MalformedCarrier) -> ClientError {
    match error {
        MalformedCarrier::NoRoom => ClientError::new("53200", error.to_string(), "Try again later."),
        _ => ClientError::new(sqlstate::INVALID_AUTHORIZATION, error.to_string(), ""),
    }
}

impl Presented {
    /// The carriers of the startup message.
    pub(super) fn new(extension: bool, settings: Carriers) -> Self {
        Self { extension, settings: Held::of(settings), ..Self::default() }
    }

    /// Takes over a K message for the next request.
    pub(super) fn message(&mut self, body: &[u8]) -> Result<(), ClientError> {
        let message = KeyMessage::decode(body).map_err(malformed)?;
        let anew = !message.envelope.is_empty();
        if anew {
            self.last_envelope = Some(Arc::new(Envelope::new(message.envelope)));
        }
        self.keys = None;
        if anew || self.limits.as_ref().is_some_and(|limits| limits.user != message.user) {
            self.presents_anew();
        }
        self.request = Held {
            user: Some(message.user.to_owned()).filter(|user| !user.is_empty()),
            envelope: None,
            application: application(Some(message.app_share)),
        };
        Ok(())
    }

    /// Takes over the carriers of a comment for this request.
    pub(super) fn comment(&mut self, carriers: Carriers) {
        if self.extension {
            return;
        }
        self.presents_anew();
        let request = std::mem::take(&mut self.request);
        self.request = Held::of(carriers).or(request);
    }

    /// Takes over a change of a setting.
    pub(super) fn change(&mut self, change: &SettingChange, segment: u64) {
        self.bound(change.name, change.value.clone(), change.local, segment);
    }

    /// Takes over a setting's value that arrived as a parameter.
    pub(super) fn bound(
        &mut self,
        name: &'static str,
        value: Option<Zeroizing<String>>,
        local: bool,
        segment: u64,
    ) {
        self.presents_anew();
        self.changes.retain(|old| old.segment != segment || old.name != name || old.local != local);
        if self.changes.len() >= 64 {
            // One transaction that sets again and again: what is overwritten does not count.
            self.changes.retain(|old| old.name != name || old.local != local);
        }
        self.changes.push(Change { name, value: Value::of(name, value), local, segment });
    }

    /// A transaction, or a part of it, was rolled back in this segment: what was set in it is dropped,
    /// before the savepoint too.
    pub(super) fn roll_back(&mut self, segment: u64) {
        self.rolled_back = true;
        if !self.changes.is_empty() {
            self.presents_anew();
            self.changes.retain(|change| change.segment > segment);
        }
    }

    /// No transaction is open any more after this segment.
    pub(super) fn transaction_ended(&mut self, segment: u64) {
        let committed = !std::mem::take(&mut self.rolled_back);
        if self.changes.is_empty() {
            return;
        }
        self.presents_anew();
        for change in self.changes.extract_if(.., |change| change.segment <= segment) {
            if committed && !change.local {
                self.settings.set(&change.value);
            }
        }
    }

    /// The request's last message is sent: what it presented is forgotten.
    pub(super) fn request_ended(&mut self) {
        if self.request.envelope.is_some() {
            self.presents_anew();
        }
        self.request = Held::default();
        self.keys = None;
    }

    fn presents_anew(&mut self) {
        self.keys = None;
        if let Some(limits) = &mut self.limits {
            limits.current = false;
        }
    }

    /// Holds a statement without keys against the limits of the envelope that is presented all the same.
    /// An envelope that cannot be used does not stand in its way, and none is used up by it.
    pub(super) fn may_run(&mut self, shares: &Shares, demand: &Demand<'_>) -> Result<(), ClientError> {
        if !self.limits.as_ref().is_some_and(|limits| limits.current) {
            let Now { user: Some(user), envelope: Some(envelope), application: Some(Ok(application)) } =
                self.now()
            else {
                return Ok(());
            };
            // One that could not be used may have become one that can.
            let same = self.limits.as_ref().is_some_and(|limits| {
                limits.live.is_some() && limits.user == user && limits.envelope == *envelope
            });
            if !same {
                let live = shares.look(user, envelope, application, SystemTime::now());
                let (user, envelope) = (user.to_owned(), Arc::clone(envelope));
                self.limits = Some(Limits { user, envelope, live, current: false });
            }
            if let Some(limits) = &mut self.limits {
                limits.current = true;
            }
        }
        match self.limits.as_ref().and_then(|limits| limits.live.as_ref()) {
            Some(live) if live.expires() > SystemTime::now() => demand.check(live),
            _ => Ok(()),
        }
    }

    /// The keys of this request, which must allow what it asks. Where they are checked, `burst` is what they were
    /// checked with.
    pub(super) fn keys(
        &mut self,
        shares: &Shares,
        demand: &Demand<'_>,
        burst: &mut Option<Burst>,
    ) -> Result<Arc<Keys>, ClientError> {
        let keys = match &self.keys {
            Some(keys) if keys.live.expires() > SystemTime::now() => Arc::clone(keys),
            _ => {
                let keys = Arc::new(self.admit(shares, burst)?);
                self.keys = Some(Arc::clone(&keys));
                keys
            }
        };
        demand.check(&keys.live)?;
        Ok(keys)
    }

    /// What SHOW answers: the UId, and of the other carriers whether they are set.
    pub(super) fn shown(&self, name: &str) -> String {
        let current = self.now();
        let is_set = |set: bool| if set { "set" } else { "" }.to_owned();
        match name {
            "user" => current.user.unwrap_or_default().to_owned(),
            "envelope" => is_set(current.envelope.is_some()),
            _ => is_set(current.application.is_some()),
        }
    }

    /// Who is claimed to ask.
    pub(super) fn user(&self) -> Option<&str> {
        self.now().user
    }

    /// What is presented now.
    fn now(&self) -> Now<'_> {
        let request = Now::of(&self.request);
        if self.extension {
            return Now { envelope: self.last_envelope.as_ref(), ..request };
        }
        let mut settings = Now::of(&self.settings);
        self.changes.iter().for_each(|change| settings.set(&change.value));
        request.or(settings)
    }

    fn admit(&self, shares: &Shares, burst: &mut Option<Burst>) -> Result<Keys, ClientError> {
        let Now { user: Some(user), envelope: Some(envelope), application: Some(application) } = self.now()
        else {
            return Err(ClientError::refused(
                Code::NoShare,
                "no user share: the statement needs a protected column's key",
                "Connect through the shim, or present trefoil.user, trefoil.envelope and trefoil.app_share.",
            ));
        };
        let application = application.as_ref().map_err(|error| malformed(*error))?;
        // Never two at a time.
        *burst = None;
        let checked = burst.insert(shares.admit(user, envelope, application, SystemTime::now())?);
        Ok(Keys { live: Arc::clone(checked.live()), application: Arc::clone(application) })
    }
}
