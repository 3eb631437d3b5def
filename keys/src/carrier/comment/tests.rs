//! Comments as carriers, and what only looks like one.

use super::*;
use proptest::prelude::*;

type Read = (Option<String>, Option<String>, Option<String>, Vec<u8>);

fn read(text: impl AsRef<[u8]>) -> Result<Option<Read>, MalformedCarrier> {
    let plain = |share: Zeroizing<String>| share.as_str().to_owned();
    take(text.as_ref()).map(|taken| {
        taken.map(|Taken { carriers: Carriers { user, envelope, app_share }, text }| {
            (user, envelope, app_share.map(plain), text)
        })
    })
}

/// The user and the text left behind.
fn user(text: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    let (user, envelope, app_share, text) = read(text).unwrap().unwrap();
    assert!(envelope.is_none() && app_share.is_none());
    (user.unwrap(), text)
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn first_or_last() {
    let pairs = "trefoil_user='al%20ice',trefoil_envelope='a.b-_',trefoil_app_share='main:AA%2Cb:BB'";
    let values = |text: &[u8]| (some("al ice"), some("a.b-_"), some("main:AA,b:BB"), text.to_vec());
    assert_eq!(read(format!("/*{pairs}*/SELECT 1")), Ok(Some(values(b"SELECT 1"))));
    assert_eq!(read(format!("\n\t /*{pairs}*/ SELECT 1")), Ok(Some(values(b"\n\t  SELECT 1"))));
    assert_eq!(read(format!("SELECT 1 /*{pairs}*/")), Ok(Some(values(b"SELECT 1 "))));
    assert_eq!(read(format!("SELECT 1;/*{pairs}*/ ;\n;")), Ok(Some(values(b"SELECT 1; ;\n;"))));
    assert_eq!(read(format!("/*{pairs}*/")), Ok(Some(values(b""))));
    let both = "/*trefoil_user='a'*/ SELECT 1 /*trefoil_envelope='e'*/";
    assert_eq!(read(both), Ok(Some((some("a"), some("e"), None, b" SELECT 1 ".to_vec()))));
}

#[test]
fn other_keys_stay() {
    let text = "SELECT 1 /*action='%2Fx\\'*',trefoil_user='a', db='%zz',trefoil_envelope='e' */;";
    let left = b"SELECT 1 /*action='%2Fx\\'*', db='%zz'*/;".to_vec();
    assert_eq!(read(text), Ok(Some((some("a"), some("e"), None, left))));
}

#[test]
fn nothing_to_take() {
    for text in [
        "",
        ";",
        "SELECT 1",
        "/**/",
        "/*/",
        "SELECT '_' /*a='b'*/",
        "SELECT trefoil_user FROM t",
        "SELECT * FROM trefoil_users /* a comment */",
        "/* trefoil_user is a column */ SELECT trefoil_user FROM t",
        "SELECT 1 /*trefoil_user*/",
        "SELECT /*trefoil_user='a'*/ 1",
        "SELECT '/*trefoil_user=''a''*/'",
        "/* /*trefoil_user='a'*/ */ SELECT 1",
        "SELECT 1 /* /* trefoil_user='a' */ */",
        "SELECT 1 /*trefoil_user='a'*/ -- end",
        "SELECT $$x$$, '_trefoil' /*trefoil_*/",
    ] {
        assert_eq!(read(text), Ok(None), "{text}");
    }
}

/// Literals at either end that look like a carrier and are none.
#[test]
fn literals() {
    assert_eq!(read("'/*trefoil_user=''a''*/' || x"), Ok(None));
    assert_eq!(read("SELECT $$/*trefoil_user='a'*/$$"), Ok(None));
    assert_eq!(read("SELECT \"/*trefoil_user='a'*/\""), Ok(None));
    // PostgreSQL refuses this text before and after: the literal is never closed.
    assert_eq!(user("SELECT '/*trefoil_user='a'*/"), ("a".to_owned(), b"SELECT '".to_vec()));
}

#[test]
fn shares_never_stay() {
    for text in [
        "SELECT '/*trefoil_envelope=''a''*/'",
        "SELECT /*trefoil_app_share='a'*/ 1",
        "/* /*trefoil_envelope='a'*/ */ SELECT 1",
        "SELECT 1 /*trefoil_envelope='a'*/ -- end",
        "/* hint */ /*trefoil_envelope='a'*/ SELECT 1",
        "/*trefoil_envelope='a'*/ /*trefoil_app_share='a'*/ SELECT 1",
        "/*x='trefoil_envelope',trefoil_user='a'*/ SELECT 1",
        "/*trefoil_envelope='a*/ SELECT 1",
        "/*trefoil_envelope=a*/ SELECT 1",
        "/*Trefoil_Envelope=a*/ SELECT 1",
        "SELECT TREFOIL_APP_SHARE",
    ] {
        assert_eq!(read(text), Err(MalformedCarrier::Elsewhere), "{text}");
    }
}

#[test]
fn malformed() {
    use MalformedCarrier::{Duplicate, Encoding, NotPrintable, TooLong, UnknownKey};
    for (pairs, reason) in [
        ("trefoil_user='%'", Encoding),
        ("trefoil_user='%4'", Encoding),
        ("trefoil_user='%4g'", Encoding),
        ("trefoil_user='%+1'", Encoding),
        ("trefoil_user='a\\n'", Encoding),
        ("trefoil_user='a", Encoding),
        ("trefoil_user='a',", Encoding),
        ("'trefoil_user='a'", Encoding),
        ("trefoil_user='a' b='c'", Encoding),
        ("trefoil_user='a',trefoil_user='a'", Duplicate),
        ("trefoil_user='',trefoil_user='a'", Duplicate),
        ("trefoil_envelope='a',x='y',trefoil_envelope='b'", Duplicate),
        ("trefoil_usr='a'", UnknownKey),
        ("TREFOIL_USER='a'", UnknownKey),
        ("x_trefoil_user='a'", UnknownKey),
        ("trefoil_user='a%00'", NotPrintable),
        ("trefoil_user='a\0'", NotPrintable),
        ("trefoil_user='a%0a'", NotPrintable),
        ("trefoil_user='%ff'", NotPrintable),
        ("trefoil_user='%c2%85'", NotPrintable),
    ] {
        assert_eq!(read(format!("SELECT 1 /*{pairs}*/")), Err(reason), "{pairs}");
        assert_eq!(read(format!("/*{pairs}*/ SELECT 1")), Err(reason), "{pairs}");
    }
    let twice = "/*trefoil_user='a'*/ SELECT 1 /*trefoil_user='a'*/";
    assert_eq!(read(twice), Err(Duplicate));
    let long = |length: usize| format!("SELECT 1 /*trefoil_envelope='{}'*/", "e".repeat(length));
    assert!(read(long(MAX_VALUE)).is_ok());
    assert_eq!(read(long(MAX_VALUE + 1)), Err(TooLong));
    assert_eq!(read(long(3 * MAX_VALUE + 1)), Err(TooLong));
    let encoded = |length: usize| format!("SELECT 1 /*trefoil_envelope='{}'*/", "%65".repeat(length));
    assert!(read(encoded(MAX_VALUE)).is_ok());
    assert_eq!(read(encoded(MAX_VALUE + 1)), Err(TooLong));
}

#[test]
fn empty_values_are_absent() {
    let text = "SELECT 1 /*trefoil_user='',trefoil_envelope='',trefoil_app_share=''*/";
    assert_eq!(read(text), Ok(Some((None, None, None, b"SELECT 1 ".to_vec()))));
}

#[test]
fn other_bytes_stay() {
    let around = b"SELECT '\xff\xfe\xe4', \"\x80_\" ";
    let text = [around.as_slice(), b"/*trefoil_user='\xc3\xa4'*/"].concat();
    assert_eq!(user(text), ("ä".to_owned(), around.to_vec()));
}

/// As SQLCommenter's libraries write it.
fn encode(value: &str) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'\'' => out.push_str("\\'"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

proptest! {
    #[test]
    fn round_trip(
        name in "\\PC{1,30}",
        statement in "SELECT [^_]{0,40}",
        other in proptest::option::of("[a-z%]{1,9}='[^'\\\\*_]{0,20}'"),
        front in any::<bool>(),
    ) {
        prop_assume!(!statement.contains("*/"));
        let mut pairs = vec![format!("trefoil_user='{}'", encode(&name))];
        pairs.extend(other.clone());
        let comment = format!("/*{}*/", pairs.join(","));
        let left = other.map(|other| format!("/*{other}*/")).unwrap_or_default();
        let join = |comment: &str| {
            if front { format!("{comment}{statement}") } else { format!("{statement}{comment}") }
        };
        prop_assert_eq!(user(join(&comment)), (name, join(&left).into_bytes()));
    }

    /// Bytes that steer the scanner, in any order: no panic, and nothing is added.
    #[test]
    fn any_text(parts in proptest::collection::vec(prop_oneof![
        Just("/*"), Just("*/"), Just("'"), Just("\\"), Just(","), Just("="), Just(";"), Just(" "), Just("%41"),
        Just("trefoil_user"), Just("trefoil_user='a'"), Just("trefoil_envelope='b'"), Just("x='y'"), Just("%"),
    ], 0..14)) {
        let text = parts.concat();
        if let Ok(Some(taken)) = take(text.as_bytes()) {
            prop_assert!(taken.text.len() < text.len());
            prop_assert!(memmem::find(&taken.text, b"trefoil_envelope").is_none());
        }
    }
}

#[test]
fn a_setting_name_in_a_comment_is_a_misspelt_carrier() {
    assert!(take(b"/*trefoil.envelope='e'*/ select 1").is_err());
    assert!(take(b"select 1 /*trefoil.app_share='e'*/").is_err());
    assert!(take(b"SET trefoil.envelope = 'e'").is_ok_and(|taken| taken.is_none()));
}

#[test]
fn somebody_elses_tag() {
    let tag = |text: &str| super::tag(text.as_bytes(), "user");
    for (text, value) in [
        ("SELECT 1", None),
        ("SELECT 1 /*user='alice'*/", Some("alice")),
        ("/*route='/x',user='o%27neill'*/ SELECT 1;", Some("o'neill")),
        ("/*db_user='bob'*/ SELECT 'user'", None),
        ("SELECT 1 /*user=''*/ ;", Some("")),
        ("SELECT '/*user=''bob''*/' AS a", None),
        ("/* the user */ SELECT 1", None),
    ] {
        assert_eq!(tag(text), Ok(value.map(str::to_owned)), "{text}");
    }
    assert_eq!(tag("/*user='a'*/ SELECT 1 /*user='b'*/"), Err(MalformedCarrier::Duplicate));
    assert_eq!(tag("/*user='a',user='a'*/ SELECT 1"), Err(MalformedCarrier::Duplicate));
    assert_eq!(tag("SELECT 1 /* user=alice */"), Err(MalformedCarrier::Encoding));
    assert_eq!(tag("SELECT 1 /*user='%'*/"), Err(MalformedCarrier::Encoding));
}
