//! The table of allowed dependencies between crates and between the modules of the proxy and of its
//! library. An arrow that is not in it fails here, and so does a cycle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "these are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use trefoil_tests::programs::source;

/// Which of our crates a crate may use.
const CRATES: &[(&str, &[&str])] = &[
    ("keys", &["trefoil-arena"]),
    // The only `unsafe` of ours.
    ("keys/arena", &[]),
    // Who answers in the place of a pinned peer, keys knows; which certificate is shown, and who gives way, link.
    ("keys/https", &["trefoil-keys", "trefoil-link"]),
    // Whose certificates are shown and trusted, keys knows.
    ("keys/link", &["trefoil-keys"]),
    ("keys/passphrase", &[]),
    ("proxy", &["trefoil-columns", "trefoil-https", "trefoil-keys", "trefoil-link"]),
    ("proxy/columns", &["trefoil-keys"]),
    ("tenant-admin", &["trefoil-columns", "trefoil-https", "trefoil-keys", "trefoil-passphrase"]),
    ("app-shim", &["trefoil-https", "trefoil-keys", "trefoil-link", "trefoil-passphrase"]),
    ("tests", &[]),
];

/// Which of its modules a module of the columns' crate may use.
const COLUMNS: &[(&str, &[&str])] = &[
    ("copy", &["error", "hex"]),
    ("error", &[]),
    ("hex", &[]),
    ("policy", &["trefoil_keys"]),
    ("value", &["error", "hex", "policy"]),
];

/// Which modules of the proxy, and of the columns' crate that it shows as its own, a module of the
/// proxy may use.
const PROXY: &[(&str, &[&str])] = &[
    ("audit", &["trefoil_keys"]),
    ("wire", &["hex"]),
    ("explain", &["error", "policy", "sql", "trefoil_keys", "upstream"]),
    ("authentication", &["trefoil_keys"]),
    ("config", &["audit", "authentication", "bootstrap", "explain", "policy", "trefoil_keys", "upstream"]),
    ("sql", &["copy", "error", "hex", "policy", "trefoil_keys"]),
    ("shares", &["audit", "error", "policy", "trefoil_keys"]),
    ("state", &["shares", "trefoil_keys"]),
    ("bootstrap", &["state", "trefoil_keys"]),
    ("admin", &["audit", "bootstrap", "error", "shares", "state", "trefoil_keys", "upstream"]),
    // What a view's columns hold follows from its definition, which is analysed like a statement. What a server
    // asks the proxy's own logins for is read as it is of sessions.
    ("upstream", &["error", "policy", "shares", "sql", "state", "trefoil_keys", "wire"]),
    (
        "session",
        &[
            "audit",
            "authentication",
            "copy",
            "error",
            "policy",
            "shares",
            "sql",
            "trefoil_keys",
            "upstream",
            "value",
            "wire",
        ],
    ),
    // What is shown is configured, or in the store.
    ("certificates", &["config", "state"]),
    ("server", &["config", "session"]),
];

fn table(rows: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    rows.iter().map(|(name, uses)| ((*name).to_owned(), owned(uses))).collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The names that follow `prefix` anywhere in the code: `crate::wire::…`, `crate::{wire, sql::Plan}`.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
    };
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        if !rest.starts_with('{') {
            names.insert(word(rest));
            continue;
        }
        let (mut depth, mut start) = (0, 1);
        for (position, character) in rest.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if (character == ',' && depth == 1) || depth == 0 {
                names.insert(word(&rest[start..position]));
                start = position + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    names.remove("");
    names
}

/// The code of a file without comments and without its unit tests, which may use what they like.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect()
}

/// The arrows between the modules of a crate, and to those in `beside`, which it shows as its own.
fn arrows(sources: &str, beside: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let root = source().join(sources);
    let files: Vec<(String, PathBuf)> = rust_files(&root)
        .into_iter()
        .map(|path| {
            let inner = path.strip_prefix(&root).unwrap();
            let module = inner.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
            (module.to_owned(), path)
        })
        .filter(|(module, _)| !["lib", "main"].contains(&module.as_str()))
        .collect();
    let known: BTreeSet<&str> =
        files.iter().map(|(module, _)| module.as_str()).chain(beside.to_vec()).collect();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, path) in &files {
        let code = code(path);
        let mut uses = names_after(&code, "crate::");
        if code.contains("trefoil_keys::") {
            uses.insert("trefoil_keys".to_owned());
        }
        // `trefoil_keys::x` is no path into this crate, and neither is `pg_crate::x`.
        uses.retain(|name| name != module && (known.contains(name.as_str()) || name == "trefoil_keys"));
        arrows.entry(module.clone()).or_default().extend(uses);
    }
    arrows
}

fn arrows_of_columns() -> BTreeMap<String, BTreeSet<String>> {
    arrows("proxy/columns/src", &[])
}

fn arrows_of_proxy() -> BTreeMap<String, BTreeSet<String>> {
    arrows("proxy/src", &COLUMNS.iter().map(|(module, _)| *module).collect::<Vec<_>>())
}

#[test]
fn modules_keep_to_the_table() {
    for (allowed, arrows) in [(table(COLUMNS), arrows_of_columns()), (table(PROXY), arrows_of_proxy())] {
        assert_eq!(allowed.keys().collect::<Vec<_>>(), arrows.keys().collect::<Vec<_>>());
        for (module, uses) in arrows {
            let more: Vec<_> = uses.difference(&allowed[&module]).collect();
            assert!(more.is_empty(), "{module} uses {more:?}: not in the table of tests/tests/structure.rs");
        }
    }
}

#[test]
fn crates_keep_to_the_table() {
    let allowed = table(CRATES);
    let workspace: toml::Table = fs::read_to_string(source().join("Cargo.toml")).unwrap().parse().unwrap();
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap();
        let manifest: toml::Table =
            fs::read_to_string(source().join(member).join("Cargo.toml")).unwrap().parse().unwrap();
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).unwrap();
        let ours: BTreeSet<_> =
            dependencies.keys().filter(|name| name.starts_with("trefoil-")).cloned().collect();
        let table = allowed.get(member).unwrap_or_else(|| panic!("crate {member} is not in the table"));
        assert!(ours.is_subset(table), "{member} depends on {ours:?}, allowed is {table:?}");
    }
}

#[test]
fn neither_the_table_nor_the_code_has_a_cycle() {
    for mut arrows in [table(COLUMNS), arrows_of_columns(), table(PROXY), arrows_of_proxy()] {
        // Take away what depends on nothing that is left, until nothing is left.
        while !arrows.is_empty() {
            let leaves: BTreeSet<_> = arrows
                .iter()
                .filter(|(_, uses)| uses.iter().all(|name| !arrows.contains_key(name)))
                .map(|(module, _)| module.clone())
                .collect();
            assert!(!leaves.is_empty(), "a cycle among {:?}", arrows.keys());
            arrows.retain(|module, _| !leaves.contains(module));
        }
    }
}

#[test]
fn keys_has_no_network_no_async_and_no_unsafe() {
    let manifest: toml::Table =
        fs::read_to_string(source().join("keys/Cargo.toml")).unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    for name in ["hyper", "tokio-postgres", "futures"] {
        assert!(!dependencies.contains_key(name), "keys depends on {name}");
    }
    // The one exception: AWS's SDK is asynchronous. Its calls run to their end on a thread of their own
    // in this one file, which is compiled only with the feature that brings tokio.
    let kms = source().join("keys/src/lock/aws_kms.rs");
    assert_eq!(dependencies["tokio"]["optional"].as_bool(), Some(true));
    assert_eq!(manifest["features"].get("default"), None);
    let lock = fs::read_to_string(source().join("keys/src/lock/mod.rs")).unwrap();
    assert!(lock.contains("#[cfg(feature = \"aws-kms\")]\nmod aws_kms;"));
    assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true));
    let workspace: toml::Table = fs::read_to_string(source().join("Cargo.toml")).unwrap().parse().unwrap();
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for path in rust_files(&source().join("keys/src")) {
        let code = code(&path);
        let banned: &[_] = if path == kms {
            &["std::net", "unsafe {"]
        } else {
            &["async ", ".await", "tokio", "std::net", "unsafe {"]
        };
        for word in banned {
            assert!(!code.contains(word), "{}: {word}", path.display());
        }
    }
}

/// Each test by which `docs/security.md` shows a guarantee, as `path::name`.
#[test]
fn every_test_that_shows_a_guarantee_exists() {
    let page = fs::read_to_string(source().join("docs/security.md")).unwrap();
    let named: Vec<(&str, &str)> =
        page.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() > 50, "{} tests are named", named.len());
    for (path, name) in named {
        let file = source().join(format!("{path}.rs"));
        let code = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}.rs: {error}"));
        let at = code.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("no {name} in {path}.rs"));
        // In `proptest!` too, and for asynchronous ones, the attribute stands before.
        let before = &code[..at];
        let attributes = &before[before.rfind(['}', ';', '{']).map_or(0, |end| end + 1)..];
        let known = ["#[test]", "#[tokio::test"].iter().any(|test| attributes.contains(test));
        assert!(known, "{name} in {path}.rs is no test");
    }
}
