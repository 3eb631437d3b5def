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

/// The key to seal to. `news` is an announcement to be taken up first.
pub(crate) fn choose(
    bundle: &UserBundle,
    bundle_path: &Path,
    news: Option<&Path>,
) -> anyhow::Result<EnvelopePublicKey> {
    // Of two agents that start at once, neither puts an older announcement over a newer one.
    let _lock = news.map(|_| lock(bundle_path)).transpose()?;
    let kept_path = beside(bundle_path);
    let kept = read_kept(&kept_path)?;
    let kept = kept.as_deref().map(|jws| verify(bundle, jws, &kept_path)).transpose()?;
    let mut newest = kept.filter(|kept| kept.serial > bundle.announcement_serial);
    if let Some(path) = news {
        let jws = read(path)?;
        let news = verify(bundle, &jws, path)?;
        let known = newest.as_ref().map_or(bundle.announcement_serial, |newest| newest.serial);
        if news.serial < known || newest.as_ref().is_some_and(|n| n.serial == news.serial && *n != news) {
            bail!(
                "{} is announcement {}, and announcement {known} is known already; fetch the newest one",
                path.display(),
                news.serial
            );
        }
        if news.serial > known {
            private_file::write(&kept_path, jws.as_bytes())?;
            newest = Some(news);
        }
    }
    match newest.as_ref().and_then(Announcement::current) {
        Some(key) => Ok(key.clone()),
        None => Ok(EnvelopePublicKey::from_jwk(&bundle.envelope_key)?),
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

fn verify(bundle: &UserBundle, jws: &str, path: &Path) -> anyhow::Result<Announcement> {
    bundle.verify_announcement(jws.trim_end()).with_context(|| path.display().to_string())
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
