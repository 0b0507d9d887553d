//! File systems that a test mounts for itself.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One that is mounted; gone when dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// A file system in memory, with the options of mount(8). `None` where this process may not mount.
    pub fn tmpfs(folder: &Path, options: &str) -> Option<Mount> {
        Mount::of("tmpfs", folder, options)
    }

    /// An overlay as containers have it. `None` where this process may not mount.
    pub fn overlay(folder: &Path, lower: &Path, upper: &Path, work: &Path) -> Option<Mount> {
        let [lower, upper, work] = [lower, upper, work].map(Path::display);
        Mount::of("overlay", folder, &format!("lowerdir={lower},upperdir={upper},workdir={work}"))
    }

    fn of(kind: &str, folder: &Path, options: &str) -> Option<Mount> {
        std::fs::create_dir_all(folder).unwrap();
        let mount = Command::new("mount").args(["-t", kind, "-o", options, "none"]).arg(folder).output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Mount(folder.to_owned()));
        }
        println!("SKIPPED: what needs a {kind}, since this process may not mount one");
        None
    }

    pub fn remount(&self, options: &str) {
        let mount = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(mount.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
