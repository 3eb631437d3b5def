//! What was issued, confirmed and changed when: entries are added and never changed.
//!
//! `hash(entry) = SHA-256(JSON of [hash of the entry before, at, event])`; the first one's predecessor is
//! all zero. Invariant: a history that was read is one whole chain up to its head.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A SHA-256 digest; base64url without padding as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = Base64UrlUnpadded::decode_vec(&text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Event {
    /// The tenant key came from the proxy over the network.
    Bootstrapped { url: String, fingerprint: String },
    /// The tenant key came from the proxy in a file.
    HandoverAccepted,
    /// Sheets for the tenant's escrow were made.
    EscrowSplit { set: String, threshold: u8, sheets: u8 },
    /// The tenant key came from sheets: what happened before is in no vault any more.
    EscrowRecovered { set: String },
    /// Where commands go.
    ApplicationSet { url: String, fingerprint: String },
    /// A further pair of sidecar and proxy gets commands no more.
    ApplicationRemoved { url: String },
    /// A command for one user was made: `add`, `change` or `withdraw`.
    UserCommand { op: UserOp, user: String, seq: u64, keyspaces: BTreeMap<String, u8> },
    /// A command for several new users was made.
    UsersAdded { seq: u64, users: Vec<String>, keyspaces: BTreeMap<String, u8> },
    /// A command for other keyspaces of these users was made: all that each has now.
    GrantsChanged { seq: u64, users: BTreeMap<String, BTreeSet<String>> },
    /// A command for a new keyspace was made.
    KeyspaceAdded { seq: u64, keyspace: String },
    /// A role was made, or made another set of keyspaces.
    RoleSet { role: String, keyspaces: BTreeSet<String> },
    /// A role that nobody had is no more.
    RoleRemoved { role: String },
    /// A user bundle was written; `again` if this share had been written before.
    UserExported { user: String, again: bool },
    /// A user was taken over from the application's list, without its share.
    UserFound { user: String },
    /// The proxy has said that the user was withdrawn, by a newer copy of this vault.
    WithdrawalFound { user: String },
    /// The proxy had applied commands up to `last` that this vault did not know: the shares of `users` more
    /// users are not certain since.
    NumbersTaken { last: u64, users: usize },
    /// New TKa's and TKp's for the users from `first` to `last` by UId, `count` in number.
    SharesRenewed { seq: u64, first: String, last: String, count: usize },
    /// An appointment was written for a proxy that is to take the place of the one that there is.
    ProxyAppointed { seq: u64, appointment: Digest },
    /// The proxy's address.
    ProxySet { url: String, fingerprint: String },
    /// Another proxy has taken the place of the one before; `seq` is the last number that it does not take.
    ProxyReplaced { url: String, fingerprint: String, receipt_key: String, seq: u64 },
    /// The proxy was told to make a new RSA pair.
    KeyRotation { seq: u64, overlap: u64 },
    /// The proxy's envelope keys were announced.
    Announced { serial: u64, kids: Vec<String> },
    /// A command was signed anew, with a new time and perhaps a new number.
    SignedAgain { seq: u64, command: Digest },
    /// The proxy's receipt says that the command was applied.
    Applied { seq: u64, command: Digest, receipt: Digest },
    /// The receipt of a further pair says that it has applied the command as well.
    Followed { seq: u64, pair: String },
    /// The proxy's receipt says that the command was refused.
    Refused { seq: u64, command: Digest, receipt: Digest, code: String },
}

/// What a command does to one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UserOp {
    Add,
    Change,
    Withdraw,
}

impl Event {
    /// Whether it is about this user.
    pub(crate) fn concerns(&self, uid: &str) -> bool {
        match self {
            Self::UserCommand { user, .. }
            | Self::UserExported { user, .. }
            | Self::UserFound { user }
            | Self::WithdrawalFound { user } => user == uid,
            Self::UsersAdded { users, .. } => users.iter().any(|user| user == uid),
            Self::GrantsChanged { users, .. } => users.contains_key(uid),
            Self::SharesRenewed { first, last, .. } => first.as_str() <= uid && uid <= last.as_str(),
            _ => false,
        }
    }
}

/// An event with its time and its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) event: Event,
    /// Hash of this entry.
    pub(crate) hash: Digest,
}

/// The chain, oldest entry first.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(crate) struct History(Vec<Entry>);

impl History {
    /// Adds an event.
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        let hash = chain(self.head(), at, &event);
        self.0.push(Entry { at, event, hash });
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Hash of the newest entry, which stands for all before it; zero if there is none.
    pub(crate) fn head(&self) -> Digest {
        self.0.last().map(|entry| entry.hash).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for History {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        let mut previous = Digest::default();
        for entry in &entries {
            if entry.hash != chain(previous, entry.at, &entry.event) {
                return Err(serde::de::Error::custom("the history is not one chain"));
            }
            previous = entry.hash;
        }
        Ok(Self(entries))
    }
}

fn chain(previous: Digest, at: u64, event: &Event) -> Digest {
    // Text, numbers and maps of them always have a JSON form; were there none, the hash would still bind
    // place and time.
    let json = serde_json::to_vec(&(previous, at, event)).unwrap_or_default();
    Digest(Sha256::digest(json).into())
}

#[cfg(test)]
mod tests {
    use super::{Digest, Event, History, UserOp};

    fn history() -> History {
        let mut history = History::default();
        history.push(1, Event::HandoverAccepted);
        for (at, user) in [(2, "alice"), (3, "bob")] {
            let event = Event::UserCommand {
                op: UserOp::Add,
                user: user.to_owned(),
                seq: at - 1,
                keyspaces: [("main".to_owned(), 1)].into(),
            };
            history.push(at, event);
        }
        history
    }

    #[test]
    fn there_and_back() {
        let json = serde_json::to_string(&history()).unwrap();
        let read: History = serde_json::from_str(&json).unwrap();
        assert_eq!(read.entries(), history().entries());
        assert_eq!(read.head(), history().head());
        assert_ne!(read.head(), Digest::default());
    }

    #[test]
    fn what_was_changed_swapped_or_taken_out_of_the_middle_is_no_history() {
        let whole = serde_json::to_value(history()).unwrap();
        let alterations: [fn(&mut Vec<serde_json::Value>); 4] = [
            |entries| entries[1]["at"] = 9.into(),
            |entries| entries[1]["event"]["user_command"]["user"] = "carol".into(),
            |entries| drop(entries.remove(0)),
            |entries| entries.swap(1, 2),
        ];
        for alter in alterations {
            let mut altered = whole.clone();
            alter(altered.as_array_mut().unwrap());
            assert!(serde_json::from_value::<History>(altered).is_err());
        }
    }

    #[test]
    fn a_renewal_concerns_the_users_in_its_range() {
        let renewed =
            Event::SharesRenewed { seq: 1, first: "bob".to_owned(), last: "dora".to_owned(), count: 3 };
        assert!(renewed.concerns("bob") && renewed.concerns("carol") && renewed.concerns("dora"));
        assert!(!renewed.concerns("alice") && !renewed.concerns("emil"));
    }
}
