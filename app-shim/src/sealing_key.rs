//! Which of the proxy's keys a user's agent seals to: that of the newest announcement which it has taken
//! up, or the bundle's if that is newer.
//!
//! What was taken up is kept beside the bundle (`BUNDLE.announcement`), so that an older announcement,
//! of a key that has been given up since, is refused for ever after.

use anyhow::{Context, bail};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use trefoil_keys::announcement::Announcement;
use trefoil_keys::bundle::UserBundle;
use trefoil_keys::envelope::EnvelopePublicKey;
use trefoil_keys::private_file;
use trefoil_keys::signing::Claims;

/// The key to seal to. `news` is a file with an announcement to be taken up first.
pub(crate) fn choose(
    bundle: &UserBundle,
    bundle_path: &Path,
    news: Option<&Path>,
) -> anyhow::Result<EnvelopePublicKey> {
    let newest = match news {
        Some(path) => take_up(bundle, bundle_path, &read(path)?, &path.display().to_string())?,
        None => newest(bundle, bundle_path)?,
    };
    match newest.as_ref().and_then(Announcement::current) {
        Some(key) => Ok(key.clone()),
        None => Ok(EnvelopePublicKey::from_jwk(&bundle.envelope_key)?),
    }
}

/// The newest announcement that was taken up, if it is newer than the bundle.
pub(crate) fn newest(bundle: &UserBundle, bundle_path: &Path) -> anyhow::Result<Option<Announcement>> {
    let path = beside(bundle_path);
    let kept = read_kept(&path)?;
    let kept = kept.map(|jws| verify(bundle, &jws, &path.display().to_string())).transpose()?;
    Ok(kept.filter(|kept| kept.serial > bundle.announcement_serial))
}

/// Takes an announcement up, which is from `source`, or finds it known already; returns it if it is newer
/// than the bundle.
pub(crate) fn take_up(
    bundle: &UserBundle,
    bundle_path: &Path,
    jws: &str,
    source: &str,
) -> anyhow::Result<Option<Announcement>> {
    // Of two agents that start at once, neither puts an older announcement over a newer one.
    let _lock = lock(bundle_path)?;
    let newest = newest(bundle, bundle_path)?;
    let news = verify(bundle, jws, source)?;
    let known = newest.as_ref().map_or(bundle.announcement_serial, |newest| newest.serial);
    if news.serial < known || newest.as_ref().is_some_and(|n| n.serial == news.serial && *n != news) {
        bail!(
            "{source} is announcement {}, and announcement {known} is known already; fetch the newest one",
            news.serial
        );
    }
    if news.serial > known {
        private_file::write(&beside(bundle_path), jws.as_bytes())?;
    }
    Ok(Some(news).filter(|news| news.serial > bundle.announcement_serial))
}

/// What was taken up beside one bundle is known beside another one of the same user, too.
pub(crate) fn carry_over(bundle_path: &Path, other_path: &Path) -> anyhow::Result<()> {
    match read_kept(&beside(bundle_path))? {
        Some(jws) => Ok(private_file::write(&beside(other_path), jws.as_bytes())?),
        None => Ok(()),
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::open(path).and_then(|file| file.lock().map(|()| file));
    file.with_context(|| format!("cannot lock {}", path.display()))
}

fn beside(bundle: &Path) -> PathBuf {
    let mut name: OsString = bundle.into();
    name.push(".announcement");
    name.into()
}

fn verify(bundle: &UserBundle, jws: &str, source: &str) -> anyhow::Result<Announcement> {
    bundle.verify_announcement(jws.trim_end()).with_context(|| source.to_owned())
}

fn read_kept(path: &Path) -> anyhow::Result<Option<String>> {
    match private_file::read(path) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The file comes from outside: it may have any size and be readable by all.
fn read(path: &Path) -> anyhow::Result<String> {
    let limit = u64::try_from(Announcement::MAX_LENGTH)?.saturating_add(1);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}
