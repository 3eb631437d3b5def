//! The server's half: as much of PostgreSQL as decides what a message means when it arrives. It keeps names
//! and COPYs as PostgreSQL does, fails what it is told to fail, and looks at everything that comes.

use super::super::corpus::MARKER;
use super::super::tenant::TENANT;
use super::client::{NUMBER, STATEMENTS};
use std::collections::HashMap;
use trefoil_proxy::wire::bind::Bind;
use trefoil_proxy::wire::frontend::{self, Parse, Target};
use trefoil_proxy::wire::{Malformed, frame, writer};

/// A statement that the server knows.
#[derive(Clone)]
struct Known {
    text: String,
    /// Of the client's statements; the proxy's own have none.
    number: Option<usize>,
    types: Vec<u32>,
}

impl Known {
    fn new(text: &[u8], types: Vec<u32>) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        let number = text.rsplit_once(NUMBER).and_then(|(_, number)| number.parse().ok());
        Self { text, number, types }
    }

    fn copies_in(&self) -> bool {
        self.text.starts_with("COPY") && self.text.contains("FROM STDIN")
    }

    /// Whether it is of a protected table.
    fn is_protected(&self) -> bool {
        !self.text.contains("wards")
    }

    /// Whether this parameter is protected.
    fn protects(&self, index: usize) -> bool {
        let case = self.number.and_then(|number| STATEMENTS.get(number));
        let parameter = case.and_then(|case| case.parameters.get(index)?.as_deref());
        self.is_protected() && parameter.is_some_and(|text| text.contains(MARKER))
    }

    fn is_question(&self) -> bool {
        self.text.starts_with("SELECT pg_catalog.unnest(pg_catalog.current_schemas(true))")
    }

    fn tag(&self) -> String {
        self.text.split([' ', '\n', ';', '(']).next().unwrap_or_default().to_ascii_uppercase()
    }
}

/// A COPY from the client that runs.
struct Copy {
    protected: bool,
    simple: bool,
}

/// A server.
pub struct Server {
    statements: HashMap<Vec<u8>, Known>,
    portals: HashMap<Vec<u8>, Known>,
    /// After an error in the extended protocol, up to the Sync.
    skipping: bool,
    copy: Option<Copy>,
    /// The last COPY was of a plain table.
    copied_plain: bool,
    tenant_a: bool,
    /// It has said nothing but what it does.
    pub honest: bool,
}

impl Server {
    /// With one of two search paths.
    pub fn new(tenant_a: bool) -> Self {
        Self {
            statements: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
            copy: None,
            copied_plain: false,
            tenant_a,
            honest: true,
        }
    }

    /// What it says between the login and the first request.
    pub fn first_words() -> Vec<u8> {
        [
            message(b'S', b"client_encoding\0UTF8\0"),
            message(b'S', b"standard_conforming_strings\0on\0"),
            message(b'S', b"server_version\x0017.2\0"),
            message(b'Z', b"I"),
        ]
        .concat()
    }

    /// Whatever the state: no share and no envelope.
    pub fn arrives(&self, bytes: &[u8], framed: bool) {
        if framed {
            for secret in TENANT.carriers.iter().skip(1) {
                assert!(!contains(bytes, secret), "an envelope or a share goes to the server");
            }
        }
    }

    /// Treats the next message, and takes it off; false if none has arrived whole.
    pub fn treats_one(&mut self, upstream: &mut Vec<u8>, fate: u8, out: &mut Vec<u8>) -> bool {
        let Ok(Some(head)) = frame::head(upstream) else { return false };
        if upstream.len() < head.size {
            return false;
        }
        let rest = upstream.split_off(head.size);
        let whole = std::mem::replace(upstream, rest);
        if self.treats(head.tag, whole.get(frame::HEAD..).unwrap_or_default(), fate, out).is_err() {
            out.extend(error("not understood"));
            self.skipping = true;
        }
        true
    }

    fn treats(&mut self, tag: u8, body: &[u8], fate: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if let Some(copy) = &self.copy {
            match tag {
                b'd' => {
                    let seen = copy.protected && self.honest && contains(body, MARKER);
                    assert!(!seen, "a protected value goes into a COPY");
                    return Ok(());
                }
                b'H' | b'S' => return Ok(()),
                b'c' if fate & 1 == 0 => {
                    let simple = copy.simple;
                    self.copy = None;
                    out.extend(message(b'C', b"COPY 0\0"));
                    if simple {
                        ready(fate, out);
                    }
                    return Ok(());
                }
                _ => {
                    let simple = copy.simple;
                    self.copy = None;
                    let ours = tag == b'f' && contains(body, "trefoil_refused");
                    let why = if ours { "COPY from stdin failed: trefoil_refused" } else { "failed" };
                    out.extend(error(why));
                    if simple {
                        ready(fate, out);
                    } else {
                        self.skipping = true;
                    }
                    return Ok(());
                }
            }
        }
        match tag {
            b'S' => {
                self.skipping = false;
                ready(fate, out);
                return Ok(());
            }
            b'd' => {
                // A client that ends a plain COPY with what is no end of it has its data passed over.
                let seen = self.honest && !self.copied_plain && contains(body, MARKER);
                assert!(!seen, "data goes up that no COPY waits for");
                return Ok(());
            }
            b'c' | b'f' | b'H' | b'X' => return Ok(()),
            _ if self.skipping => return Ok(()),
            b'Q' => {
                self.queries(frontend::query_text(body)?, fate, out);
                return Ok(());
            }
            b'F' => {
                out.extend(error("no such function"));
                ready(fate, out);
                return Ok(());
            }
            _ => {}
        }
        // One in eight fails, whatever it is.
        let done = if fate & 7 == 7 { Err(()) } else { self.extended(tag, body, fate, out)? };
        if done.is_err() {
            if let (b'P', Ok(Parse { name: b"", .. })) = (tag, Parse::decode(body)) {
                self.statements.remove(&b""[..]);
            }
            out.extend(error("failed"));
            self.skipping = true;
        }
        Ok(())
    }

    fn queries(&mut self, text: &[u8], fate: u8, out: &mut Vec<u8>) {
        let known = Known::new(text, Vec::new());
        self.looks_at(&known);
        // A simple query drops the unnamed ones.
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        let taken = known.text.starts_with("PREPARE s1") && self.statements.contains_key(&b"s1"[..]);
        if text == frontend::REFUSED || taken || fate & 7 == 7 {
            out.extend(error("failed"));
            ready(fate, out);
        } else if known.copies_in() {
            self.begins_copy(&known, true);
            out.extend(message(b'G', &[0, 0, 0]));
        } else {
            self.has_run(&known);
            out.extend(message(b'C', format!("{}\0", known.tag()).as_bytes()));
            ready(fate, out);
        }
    }

    /// A text that has arrived.
    fn looks_at(&self, known: &Known) {
        let executes = known.text.starts_with("EXECUTE s1");
        let plain = executes && self.statements.get(&b"s1"[..]).is_none_or(|known| !known.protects(0));
        assert!(
            plain || !contains(known.text.as_bytes(), MARKER),
            "a protected literal goes up: {}",
            known.text
        );
    }

    fn begins_copy(&mut self, known: &Known, simple: bool) {
        let protected = known.is_protected();
        self.copy = Some(Copy { protected, simple });
        self.copied_plain = !protected;
    }

    /// What a statement changes of names.
    fn has_run(&mut self, known: &Known) {
        let text = known.text.as_str();
        if let Some(prepared) = text.strip_prefix("PREPARE s1") {
            self.statements.insert(b"s1".to_vec(), Known::new(prepared.as_bytes(), Vec::new()));
        } else if text.starts_with("DEALLOCATE s1") {
            self.statements.remove(&b"s1"[..]);
        } else if text.starts_with("DEALLOCATE ALL") || text.starts_with("DISCARD ALL") {
            self.statements.clear();
        }
    }

    /// A message of the extended protocol; the inner error is one that the client is told.
    fn extended(
        &mut self,
        tag: u8,
        body: &[u8],
        fate: u8,
        out: &mut Vec<u8>,
    ) -> Result<Result<(), ()>, Malformed> {
        Ok(match tag {
            b'P' => {
                let parse = Parse::decode(body)?;
                let known = Known::new(parse.text, parse.types().collect());
                self.looks_at(&known);
                let taken = !parse.name.is_empty() && self.statements.contains_key(parse.name);
                if parse.text == frontend::REFUSED || taken {
                    return Ok(Err(()));
                }
                self.statements.insert(parse.name.to_vec(), known);
                out.extend(message(b'1', b""));
                Ok(())
            }
            b'B' => {
                let bind = Bind::decode(body)?;
                let Some(known) = self.statements.get(bind.statement) else { return Ok(Err(())) };
                if self.honest {
                    self.looks_at_values(known, &bind);
                }
                if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
                    return Ok(Err(()));
                }
                self.portals.insert(bind.portal.to_vec(), known.clone());
                out.extend(message(b'2', b""));
                Ok(())
            }
            b'D' => match frontend::target(body)? {
                Target::Statement(name) => match self.statements.get(name) {
                    Some(known) => {
                        let mut types = Vec::new();
                        writer::count(&mut types, known.types.len(), "types")?;
                        for oid in &known.types {
                            types.extend(if *oid == 0 { 25_u32 } else { *oid }.to_be_bytes());
                        }
                        out.extend(message(b't', &types));
                        out.extend(message(b'n', b""));
                        Ok(())
                    }
                    None => Err(()),
                },
                Target::Portal(name) if self.portals.contains_key(name) => {
                    out.extend(message(b'n', b""));
                    Ok(())
                }
                Target::Portal(_) => Err(()),
            },
            b'E' => match self.portals.get(frontend::execute(body)?).cloned() {
                Some(known) => {
                    self.executes(&known, fate, out);
                    Ok(())
                }
                None => Err(()),
            },
            b'C' => {
                match frontend::target(body)? {
                    Target::Statement(name) => self.statements.remove(name),
                    Target::Portal(name) => self.portals.remove(name),
                };
                out.extend(message(b'3', b""));
                Ok(())
            }
            _ => return Err(Malformed::Field("type")),
        })
    }

    fn executes(&mut self, known: &Known, fate: u8, out: &mut Vec<u8>) {
        if known.copies_in() {
            self.begins_copy(known, false);
            out.extend(message(b'G', &[0, 0, 0]));
            return;
        }
        if known.is_question() {
            let schema: &[u8] = if self.tenant_a { b"\0\0\0\x08tenant_a" } else { b"\0\0\0\x06public" };
            out.extend(message(b'D', &[b"\0\x02", schema, schema].concat()));
        }
        self.has_run(known);
        match fate & 0x18 {
            0x18 => out.extend(message(b's', b"")),
            _ => out.extend(message(b'C', format!("{}\0", known.tag()).as_bytes())),
        }
    }

    /// The values of a Bind, where the statement that the server knows by that name has protected ones.
    fn looks_at_values(&self, known: &Known, bind: &Bind<'_>) {
        // The parameter of a PREPARE is EXECUTE's: PostgreSQL takes none in Bind.
        let values = bind.values().enumerate().filter(|_| !known.text.starts_with("PREPARE"));
        for (index, value) in values {
            let seen = known.protects(index) && value.is_some_and(|value| contains(value, MARKER));
            assert!(!seen, "a protected parameter goes up for {}", known.text);
        }
    }
}

fn contains(bytes: &[u8], what: &str) -> bool {
    memchr::memmem::find(bytes, what.as_bytes()).is_some()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let written = writer::message(&mut out, tag, |out| {
        out.extend_from_slice(body);
        Ok::<(), Malformed>(())
    });
    written.expect("it is short");
    out
}

fn error(why: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C42601\0M{why}\0\0").as_bytes())
}

/// ReadyForQuery, in whatever transaction.
fn ready(fate: u8, out: &mut Vec<u8>) {
    out.extend(message(
        b'Z',
        match fate >> 5 & 3 {
            0 | 1 => b"I",
            2 => b"T",
            _ => b"E",
        },
    ));
}
