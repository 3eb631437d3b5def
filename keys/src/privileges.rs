//! Giving up root: a program that was started by it goes on as an unprivileged account, for good. Every
//! result is checked, and at the end that there is no way back.

use nix::errno::Errno;
use nix::unistd::{Gid, ResGid, ResUid, Uid, User, geteuid, getgroups, getresgid, getresuid};
use nix::unistd::{initgroups, setresgid, setresuid};
use rustix::thread::capabilities;
use std::ffi::CString;

/// Why a program does not run as the account that it is to run as.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegesError {
    /// No such account.
    #[error("there is no user `{0}` on this machine; name one by `user`, or make it: useradd --system {0}")]
    Unknown(String),
    /// Only root becomes somebody else.
    #[error("the program was not started as root, so it cannot become user `{0}`; start it as that user")]
    NotRoot(String),
    /// The kernel, or the user database, did not do it.
    #[error("cannot {action} to become user `{user}`: {reason}")]
    Refused {
        /// Who it is to be.
        user: String,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        reason: Errno,
    },
    /// All calls succeeded, and rights are left all the same.
    #[error("the program still has rights of root after it became user `{0}`; nothing was opened")]
    Left(String),
}

/// Whether the program has root's rights.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Becomes this account (a name, or a number that has one), with the groups that it has in the user database,
/// and without root's capabilities. Nothing happens where the program runs as that account already; so
/// `root` lets it stay root.
///
/// To be called before anything is opened, and before [`keep_private`](crate::memory::keep_private), as the
/// kernel makes the process dumpable anew.
///
/// # Errors
/// If it is not that account then, or could become root again. The program must not go on.
pub fn become_user(name: &str) -> Result<(), PrivilegesError> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    let refused = |action| {
        let user = name.to_owned();
        move |reason| PrivilegesError::Refused { user, action, reason }
    };
    let user = found.map_err(refused("read the user database"))?;
    let User { name: account, uid, gid, .. } =
        user.ok_or_else(|| PrivilegesError::Unknown(name.to_owned()))?;
    if geteuid() == uid {
        return Ok(());
    }
    if !is_root() {
        return Err(PrivilegesError::NotRoot(name.to_owned()));
    }
    let account = CString::new(account).map_err(|_| PrivilegesError::Unknown(name.to_owned()))?;
    // Groups first: without root they cannot be changed.
    initgroups(&account, gid).map_err(refused("set the groups"))?;
    setresgid(gid, gid, gid).map_err(refused("set the group"))?;
    setresuid(uid, uid, uid).map_err(refused("set the user"))?;
    if is_only(uid, gid) { Ok(()) } else { Err(PrivilegesError::Left(name.to_owned())) }
}

/// Whether this is all that the process is, and can become.
fn is_only(uid: Uid, gid: Gid) -> bool {
    let users = ResUid { real: uid, effective: uid, saved: uid };
    let groups = ResGid { real: gid, effective: gid, saved: gid };
    let root = Gid::from_raw(0);
    getresuid() == Ok(users)
        && getresgid() == Ok(groups)
        && (gid == root || getgroups().is_ok_and(|groups| !groups.contains(&root)))
        && capabilities(None).is_ok_and(|sets| sets.effective.is_empty() && sets.permitted.is_empty())
        && setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)) == Err(Errno::EPERM)
}
