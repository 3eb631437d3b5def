//! The loads: what is done, by how many clients, in which protocol.

use super::data::{ACCOUNTS, SCALE, people};
use super::variant::{Protection, Way};

/// How pgbench sends statements (`-M`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Simple,
    Extended,
    Prepared,
}

impl Mode {
    /// As pgbench calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

/// What pgbench runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// pgbench's own `-S`, with key and balance protected.
    SelectOnly,
    /// pgbench's own TPC-B; the account's number protected, and what is written of it in the history.
    ReadWrite,
    /// One protected value by a protected deterministic key.
    PointSelect,
    /// A row with five protected columns.
    Insert,
}

/// What is read or written at once, by one client of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bulk {
    Fetch,
    CopyIn,
    CopyOut,
}

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Pgbench { script: Script, mode: Mode, clients: usize, tls: bool },
    Bulk(Bulk),
}

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load(pub(super) Work);

impl Load {
    /// All of them, in the order in which they are reported.
    pub(super) fn all() -> Vec<Self> {
        let pgbench = |script, mode, clients| Self(Work::Pgbench { script, mode, clients, tls: false });
        let mut all = Vec::new();
        for mode in [Mode::Simple, Mode::Extended, Mode::Prepared] {
            all.extend([1, 8, 64].map(|clients| pgbench(Script::SelectOnly, mode, clients)));
        }
        all.extend([1, 8, 64].map(|clients| pgbench(Script::PointSelect, Mode::Prepared, clients)));
        all.push(pgbench(Script::ReadWrite, Mode::Prepared, 8));
        all.push(pgbench(Script::Insert, Mode::Prepared, 8));
        all.extend([Bulk::Fetch, Bulk::CopyIn, Bulk::CopyOut].map(|bulk| Self(Work::Bulk(bulk))));
        for mode in [Mode::Simple, Mode::Prepared] {
            all.push(Self(Work::Pgbench { script: Script::SelectOnly, mode, clients: 8, tls: true }));
        }
        all
    }

    /// Whether it is measured on this way.
    pub(super) fn goes(self, way: Way) -> bool {
        match self.0 {
            Work::Pgbench { tls: true, .. } => {
                matches!(way, Way::PgBouncer | Way::NoPolicy | Way::Protected)
            }
            Work::Pgbench { .. } => way != Way::Cells,
            Work::Bulk(_) => true,
        }
    }

    /// In tables, and for ONLY.
    pub(super) fn name(self) -> String {
        match self.0 {
            Work::Pgbench { script, mode, clients, tls } => {
                let script = match script {
                    Script::SelectOnly => "select-only",
                    Script::ReadWrite => "read-write",
                    Script::PointSelect => "point select",
                    Script::Insert => "insert",
                };
                let tls = if tls { ", TLS" } else { "" };
                let plural = if clients == 1 { "" } else { "s" };
                format!("{script}, {}, {clients} client{plural}{tls}", mode.name())
            }
            Work::Bulk(bulk) => match bulk {
                Bulk::Fetch => "fetch of 10,000 rows",
                Bulk::CopyIn => "COPY in of 100,000 rows",
                Bulk::CopyOut => "COPY out of 100,000 rows",
            }
            .to_owned(),
        }
    }
}

impl Script {
    /// What makes a database as it was before it ran, as far as its speed goes: those that are written by several ways
    /// would age sooner. pgbench does this too, for the tables of its own script.
    pub(super) fn reset(self) -> &'static [&'static str] {
        match self {
            Self::ReadWrite => &[
                "TRUNCATE tpcb.pgbench_history",
                "VACUUM tpcb.pgbench_branches, tpcb.pgbench_tellers, tpcb.pgbench_accounts",
            ],
            Self::Insert => &["TRUNCATE visits"],
            Self::SelectOnly | Self::PointSelect => &[],
        }
    }

    /// For pgbench's `-f`.
    pub(super) fn text(self, protection: Protection) -> String {
        let account = protection.deterministic(":aid");
        match self {
            Self::SelectOnly => format!(
                "\\set aid random(1, {ACCOUNTS})\nSELECT {} FROM pgbench_accounts WHERE aid = {account};\n",
                protection.read("abalance", "int"),
            ),
            Self::ReadWrite => format!(
                "\\set aid random(1, 100000 * {SCALE})\n\\set bid random(1, {SCALE})\n\
                 \\set tid random(1, 10 * {SCALE})\n\\set delta random(-5000, 5000)\nBEGIN;\n\
                 UPDATE tpcb.pgbench_accounts SET abalance = abalance + :delta WHERE aid = {account};\n\
                 SELECT abalance FROM tpcb.pgbench_accounts WHERE aid = {account};\n\
                 UPDATE tpcb.pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n\
                 UPDATE tpcb.pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n\
                 INSERT INTO tpcb.pgbench_history (tid, bid, aid, delta, mtime)\n\
                 VALUES (:tid, :bid, {account}, {}, CURRENT_TIMESTAMP);\nEND;\n",
                protection.randomized(":delta"),
            ),
            Self::PointSelect => format!(
                "\\set ssn random(100000001, 100000000 + {})\nSELECT {} FROM people WHERE ssn = {};\n",
                people(protection),
                protection.read("name", "text"),
                protection.deterministic(":ssn"),
            ),
            Self::Insert => format!(
                "\\set ssn random(1, 1000000000)\n\\set balance random(1, 1000000)\n\
                 INSERT INTO visits (name, ssn, born, balance, note) VALUES ({}, {}, {}, {}, {});\n",
                protection.randomized(":name"),
                protection.deterministic(":ssn"),
                protection.randomized(":born"),
                protection.randomized(":balance"),
                protection.randomized(":note"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_load_has_a_name_of_its_own() {
        let all = Load::all();
        assert_eq!(all.iter().map(|load| load.name()).collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn only_pgcrypto_needs_statements_of_its_own() {
        let plain = Script::PointSelect.text(Protection::Transparent);
        assert!(plain.ends_with("SELECT name FROM people WHERE ssn = :ssn;\n"), "{plain}");
        let pgcrypto = Script::Insert.text(Protection::Pgcrypto);
        assert_eq!(pgcrypto.matches("pgp_sym_encrypt(").count(), 4, "{pgcrypto}");
    }
}
