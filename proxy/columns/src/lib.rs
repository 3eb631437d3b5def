//! What a protected column is: the policy that names it, its values between PostgreSQL's forms and
//! canonical bytes, COPY's formats that carry them, and the tokens of SQL. No I/O, no keys. For the
//! proxy, and for what reads a database without one.

pub mod copy;
pub mod error;
pub mod hex;
pub mod policy;
pub mod value;

pub use trefoil_keys::lex;
