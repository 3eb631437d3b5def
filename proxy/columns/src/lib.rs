//! What a protected column is: the policy that names it, its values between PostgreSQL's forms and
//! canonical bytes, and COPY's formats that carry them. No I/O, no keys. For the proxy, and for what
//! reads a database without one.

pub mod copy;
pub mod error;
pub mod policy;
pub mod value;
