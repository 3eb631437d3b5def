//! The ways to the same PostgreSQL that are compared, and how statements protect values on each.

use crate::endpoint::Endpoint;
use std::fmt;

/// For pgcrypto, in each statement: 24 random bytes as 32 characters, which the raw functions take as they stand, as
/// a key of AES-256.
const KEY: &str = "'kXH0nKQv0a2Yb1mE3rTzUuW7sPpLdC9f'";

/// How values are protected in the database.
///
/// pgcrypto's manual recommends its PGP functions and discourages the raw ones: so a randomized value is
/// `pgp_sym_encrypt`. These know nothing deterministic: there it is the raw `encrypt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// Not at all, or by Trefoil: the statements are the same.
    Transparent,
    /// By functions of pgcrypto in the statements, without options: each value's key is stretched, as a password needs
    /// it.
    Pgcrypto,
    /// The same, but a key is hashed once: a random one needs no more.
    PgcryptoUnstretched,
}

impl Protection {
    /// Whether the statements themselves protect.
    pub(super) fn is_by_statement(self) -> bool {
        self != Self::Transparent
    }

    /// The type of a protected column, as a table is made with it.
    pub(super) fn column(self, name: &'static str) -> &'static str {
        match self {
            Self::Transparent => name,
            Self::Pgcrypto | Self::PgcryptoUnstretched => "bytea",
        }
    }

    /// An expression as the value of a randomized column.
    pub(super) fn randomized(self, value: &str) -> String {
        match self {
            Self::Transparent => value.to_owned(),
            Self::Pgcrypto => format!("pgp_sym_encrypt(({value})::text, {KEY})"),
            Self::PgcryptoUnstretched => {
                format!("pgp_sym_encrypt(({value})::text, {KEY}, 's2k-mode=1')")
            }
        }
    }

    /// An expression as the value of a deterministic column, or compared with one.
    pub(super) fn deterministic(self, value: &str) -> String {
        match self {
            Self::Transparent => value.to_owned(),
            Self::Pgcrypto | Self::PgcryptoUnstretched => {
                format!("encrypt(convert_to(({value})::text, 'UTF8'), {KEY}, 'aes')")
            }
        }
    }

    /// What a randomized column of this type holds.
    pub(super) fn read(self, column: &str, kind: &str) -> String {
        match self {
            Self::Transparent => column.to_owned(),
            Self::Pgcrypto | Self::PgcryptoUnstretched => format!("pgp_sym_decrypt({column}, {KEY})::{kind}"),
        }
    }

    /// What a deterministic column of type text holds.
    pub(super) fn read_deterministic(self, column: &str) -> String {
        match self {
            Self::Transparent => column.to_owned(),
            Self::Pgcrypto | Self::PgcryptoUnstretched => {
                format!("convert_from(decrypt({column}, {KEY}, 'aes'), 'UTF8')")
            }
        }
    }
}

/// One way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Way {
    /// Nothing in between.
    Direct,
    /// PgBouncer in session mode.
    PgBouncer,
    /// A proxy whose policy is empty.
    NoPolicy,
    /// The same behind a sidecar.
    NoPolicySidecar,
    /// A proxy with the touched columns in its policy; shares come in settings.
    Protected,
    /// The same behind a sidecar, which adds the shares.
    ProtectedSidecar,
    /// Nothing in between, and the cells as they are: what their length and form cost the database.
    Cells,
    /// Nothing in between, and pgcrypto in the statements.
    Pgcrypto,
    /// The same, without stretching its key.
    PgcryptoUnstretched,
}

impl Way {
    pub(super) const ALL: [Self; 9] = [
        Self::Direct,
        Self::PgBouncer,
        Self::NoPolicy,
        Self::NoPolicySidecar,
        Self::Protected,
        Self::ProtectedSidecar,
        Self::Pgcrypto,
        Self::PgcryptoUnstretched,
        Self::Cells,
    ];

    pub(super) fn protection(self) -> Protection {
        match self {
            Self::Pgcrypto => Protection::Pgcrypto,
            Self::PgcryptoUnstretched => Protection::PgcryptoUnstretched,
            _ => Protection::Transparent,
        }
    }

    /// Whether Trefoil protects the columns.
    pub(super) fn is_protected(self) -> bool {
        matches!(self, Self::Protected | Self::ProtectedSidecar)
    }

    /// In tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::PgBouncer => "PgBouncer",
            Self::NoPolicy => "no policy",
            Self::NoPolicySidecar => "no policy, sidecar",
            Self::Protected => "protected",
            Self::ProtectedSidecar => "protected, sidecar",
            Self::Cells => "cells, direct",
            Self::Pgcrypto => "pgcrypto",
            Self::PgcryptoUnstretched => "pgcrypto, s2k-mode=1",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A way as a client takes it.
pub(super) struct Variant {
    pub(super) way: Way,
    /// Where a client connects.
    pub(super) endpoint: Endpoint,
    /// Straight to the same database.
    pub(super) database: Endpoint,
    /// The connection's `options`.
    pub(super) options: Option<String>,
    /// The processes between client and database, the proxy or the pooler first.
    pub(super) between: Vec<u32>,
}

impl Variant {
    /// The connection of a Rust client.
    pub(super) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        let Endpoint { host, port, user, password, database } = &self.endpoint;
        config.host(host).port(*port).user(user).password(password).dbname(database);
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        if let Some(options) = &self.options {
            config.options(options);
        }
        config
    }
}
