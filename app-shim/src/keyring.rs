//! The system's keyring, by the Secret Service API of freedesktop.org (GNOME Keyring, KWallet, KeePassXC):
//! it keeps the passphrase of a locked bundle, and gives it out while the user is logged in.
//!
//! The bundle itself stays a file: a keyring that is lost, or on another machine, leaves a file that
//! nothing opens, and never a second copy of the share.

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use rand::TryRng as _;
use rand::rngs::SysRng;
use secret_service::EncryptionType;
use secret_service::blocking::SecretService;
use std::collections::HashMap;
use trefoil_passphrase::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// The keyring is asked over the session's bus, where others may listen.
const ENCRYPTION: EncryptionType = EncryptionType::Dh;

/// A passphrase that nobody needs to know.
pub(crate) fn random_passphrase() -> anyhow::Result<SecretString> {
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(bytes.as_mut_slice()).context("the random number generator failed")?;
    Ok(SecretString::from(Base64UrlUnpadded::encode_string(bytes.as_slice())))
}

/// Keeps the passphrase of this locked file, under a name for the user to know it by.
pub(crate) fn keep(locked: &[u8], passphrase: &SecretString, label: &str) -> anyhow::Result<()> {
    let service = SecretService::connect(ENCRYPTION).context("the system has no keyring")?;
    let collection = service.get_default_collection().context("the keyring has no default collection")?;
    collection.ensure_unlocked().or_else(|_| collection.unlock()).context("the keyring stays locked")?;
    let name = name(locked);
    let secret = passphrase.expose_secret().as_bytes();
    collection
        .create_item(label, attributes(&name), secret, true, "text/plain")
        .context("the keyring does not take the passphrase")?;
    // What it does not give back now it will not give back later.
    let found = find(locked)?.context("the keyring has lost the passphrase at once")?;
    ensure!(found.expose_secret() == passphrase.expose_secret(), "the keyring gives another passphrase back");
    Ok(())
}

/// The passphrase of this locked file, if the keyring has it.
pub(crate) fn find(locked: &[u8]) -> anyhow::Result<Option<SecretString>> {
    let service = SecretService::connect(ENCRYPTION).context("the system has no keyring")?;
    let found = service.search_items(attributes(&name(locked))).context("the keyring does not answer")?;
    let Some(item) = found.unlocked.first().or_else(|| found.locked.first()) else { return Ok(None) };
    item.ensure_unlocked().or_else(|_| item.unlock()).context("the keyring stays locked")?;
    let secret = Zeroizing::new(item.get_secret().context("the keyring does not give the passphrase out")?);
    let text = std::str::from_utf8(&secret).context("the keyring has something else than a passphrase")?;
    Ok(Some(SecretString::from(text)))
}

/// The file by its content, which does not change, wherever it is moved.
fn name(locked: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(digest(&SHA256, locked).as_ref())
}

fn attributes(name: &str) -> HashMap<&str, &str> {
    HashMap::from([("application", "trefoil-shim"), ("bundle", name)])
}
