//! The application's shares from a bundle, read again on SIGHUP.

use crate::tka::{self, Text};
use anyhow::Context as _;
use std::collections::HashMap;
use std::path::Path;
use trefoil_keys::bundle::{self, ApplicationBundle};
use trefoil_keys::carrier::MalformedCarrier;

/// The application's id, and its shares by user.
pub(crate) fn read(path: &Path) -> anyhow::Result<(String, HashMap<String, Text>)> {
    let bundle: ApplicationBundle = bundle::read(path)?;
    let users = bundle.users.into_iter().map(|(user, shares)| Ok((user, tka::text(&shares)?)));
    let users = users.collect::<Result<_, MalformedCarrier>>();
    Ok((bundle.application, users.context("application bundle: keyspaces of a user")?))
}
