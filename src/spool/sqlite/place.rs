//! What kind of file system a spool is on, and what that means for the mail in it.
//!
//! A database in WAL mode needs locks, shared memory and a sync that means it (sqlite.org/wal.html, section 1); mail
//! that was accepted needs a file system that is still there tomorrow (reliability-security.md, section 1.2).

use std::path::Path;

/// What may happen to mail in a spool in `folder`, and what to do about it. `None`: nothing that we know of.
#[must_use]
pub fn warning(folder: &Path) -> Option<String> {
    let whole = std::path::absolute(folder).ok()?;
    // A spool that is not there yet will be on the file system of the nearest folder that is.
    let nearest = whole.ancestors().find(|folder| folder.exists())?;
    danger(kind(nearest)?).map(|danger| format!("the spool {} is {danger}", whole.display()))
}

/// The number by which Linux tells file systems apart (statfs(2)).
#[cfg(target_os = "linux")]
fn kind(folder: &Path) -> Option<u32> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it has 32 bits, whatever its type")]
    Some(kind as u32)
}

#[cfg(not(target_os = "linux"))]
fn kind(_folder: &Path) -> Option<u32> {
    None
}

fn danger(kind: u32) -> Option<String> {
    let remote = |name: &str| {
        format!(
            "on a network file system ({name}): it may say that mail is stored before it is, and its locks may not hold, so \
             that mail which was accepted can be lost. Put `spool.path` on a disk of this machine"
        )
    };
    Some(match kind {
        0x6969 => remote("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => remote("SMB"),
        0x0102_1997 => remote("9p"),
        0x00c3_6400 => remote("Ceph"),
        0x5346_414f | 0x6b41_4653 => remote("AFS"),
        0x7373_7245 => remote("Coda"),
        0x786f_4256 => remote("a folder shared by VirtualBox"),
        0x6573_5546 => "on a file system that another program serves (FUSE or virtiofs): that program may say that mail is \
                        stored before it is, so that mail which was accepted can be lost. Put `spool.path` on a disk of \
                        this machine, or in a container on a volume of its own"
            .to_owned(),
        0x794c_7630 => "on an overlay, as everything inside a container is: mail that waits is gone when the container is \
                        removed. Put a volume there, as with `docker run -v smarthost:/var/lib/smarthost …`"
            .to_owned(),
        0x0102_1994 | 0x8584_58f6 => "in memory (tmpfs): mail that waits is gone when this machine stops. Put `spool.path` \
                                      on a disk"
            .to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_system_has_its_danger() {
        for (kind, words) in [
            (0x6969, "NFS"),
            (0xff53_4d42, "SMB"),
            (0xfe53_4d42, "SMB"),
            (0x517b, "SMB"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE or virtiofs"),
            (0x794c_7630, "container"),
            (0x0102_1994, "memory"),
        ] {
            let danger = danger(kind).unwrap_or_else(|| panic!("{kind:x} is safe"));
            assert!(danger.contains(words), "{kind:x}: {danger}");
        }
        // ext4, xfs, btrfs, zfs, f2fs.
        for disk in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0xf2f5_2010] {
            assert_eq!(danger(disk), None, "{disk:x}");
        }
    }

    #[test]
    fn a_spool_that_is_not_there_yet_is_judged_by_where_it_will_be() {
        let missing = Path::new("/proc/self/no/such/folder");
        assert_eq!(warning(missing), warning(Path::new("/proc/self")));
        #[cfg(target_os = "linux")]
        assert_eq!(kind(Path::new("/proc/self")), Some(0x9fa0));
    }
}
