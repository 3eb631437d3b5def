//! HTTP between the user's agent, the application's second door and the application: requests are passed
//! on to one origin and answers passed back (RFC 9110, section 7.6), bodies as they come and never as a
//! whole, over HTTP/1.1 and HTTP/2.
//!
//! Invariant: no field that carries a user or an envelope, however it is spelled, goes on as it came, in
//! a head or in trailers. Whoever passes a request on adds its own, or none.

mod body;
mod client;
pub(crate) mod fields;
mod origin;
mod page;
mod server;

pub(crate) use client::{Client, Onward, UNREACHABLE};
pub(crate) use origin::Origin;
pub(crate) use page::{Form, Refusal, answer};
pub(crate) use server::{Handler, serve};

/// The longest head, request's or response's: an envelope of the longest kind, and cookies beside it.
const MAX_HEAD: usize = 64 * 1024;
