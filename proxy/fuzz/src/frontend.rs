//! Each message of a client that is decoded, and framing. The first byte is the message's type.

use trefoil_proxy::wire::bind::{self, Bind};
use trefoil_proxy::wire::frontend::{self, Parse, Target};
use trefoil_proxy::wire::{Malformed, frame, writer};

/// Reads one message's body; what it read, written again, is the same.
pub fn run(data: &[u8]) -> bool {
    let Some((&tag, body)) = data.split_first() else { return false };
    let mut out = Vec::new();
    let written = match tag {
        b'P' => Parse::decode(body).and_then(|read| {
            assert!(read.types().len() * 4 <= body.len());
            frontend::parse(&mut out, read.name, read.text, read.types())
        }),
        b'B' => bind_again(body, &mut out),
        b'D' | b'C' => frontend::target(body).and_then(|target| {
            let (kind, name) = match target {
                Target::Statement(name) => (b'S', name),
                Target::Portal(name) => (b'P', name),
            };
            writer::message(&mut out, tag, |out| {
                out.push(kind);
                writer::string(out, name);
                Ok(())
            })
        }),
        b'E' => frontend::execute(body).and_then(|portal| {
            writer::message(&mut out, tag, |out| {
                writer::string(out, portal);
                out.extend_from_slice(body.get(portal.len() + 1..).unwrap_or_default());
                Ok(())
            })
        }),
        b'Q' => frontend::query_text(body).and_then(|text| frontend::query(&mut out, text)),
        _ => {
            let head = frame::head(data);
            if let Ok(Some(head)) = head {
                assert!(head.size >= frame::HEAD && head.tag == tag);
            }
            return matches!(head, Ok(Some(_)));
        }
    };
    if written.is_ok() {
        let head = frame::head(&out).expect("its own head").expect("its own head");
        assert_eq!((head.tag, head.size), (tag, out.len()));
        assert_eq!(out.get(frame::HEAD..), Some(body));
    }
    written.is_ok()
}

fn bind_again(body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let names = bind::names(body);
    let read = Bind::decode(body)?;
    assert_eq!(names, Some((read.portal, read.statement)));
    writer::message(out, b'B', |out| {
        writer::string(out, read.portal);
        writer::string(out, read.statement);
        writer::count(out, read.formats.len(), "formats")?;
        read.formats.codes().for_each(|code| out.extend_from_slice(&code));
        writer::count(out, read.number, "parameters")?;
        let mut number = 0;
        for value in read.values() {
            writer::value(out, value)?;
            let _ = read.formats.of(number);
            number += 1;
        }
        assert_eq!(number, read.number);
        writer::count(out, read.results.len(), "formats")?;
        read.results.codes().for_each(|code| out.extend_from_slice(&code));
        Ok(())
    })
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        &b"Ps\0SELECT $1\0\0\x02\0\0\0\x17\0\0\0\0"[..],
        b"Bp\0s\0\0\x01\0\x01\0\x02\0\0\0\x04abcd\xff\xff\xff\xff\0\x01\0\x01",
        b"B\0\0\0\0\0\0\0\0",
        b"DSname\0",
        b"CPname\0",
        b"Ename\0\0\0\0\x05",
        b"QSELECT 1\0",
        b"d\0\0\0\x05x",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}
