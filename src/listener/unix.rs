//! A Unix socket: its file is made when we begin, and removed when we end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::BindError;

/// Every program of this machine may send, as on `localhost`. Whoever wants less puts the socket into a folder that fewer
/// may enter.
const MODE: u32 = 0o666;

/// The file of a socket that listens; removed when dropped, unless another one has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // A file that cannot be removed is found to be stale at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the file and listens. A file that a relay left behind when it was killed is replaced, one at which somebody
/// listens is not.
pub fn listen(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(shown(path)),
        _ => BindError::Socket(path.display().to_string(), error),
    };
    remove_stale(path)?;
    let socket = UnixListener::bind(path).map_err(explain)?;
    let inode = fs::symlink_metadata(path).map_err(explain)?.ino();
    let file = SocketFile { path: path.to_owned(), inode };
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(explain)?;
    socket.set_nonblocking(true).map_err(explain)?;
    Ok((socket, file))
}

/// As it is written in the configuration.
pub fn shown(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        return Err(BindError::NoSocket(path.display().to_string()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| BindError::Socket(path.display().to_string(), error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(BindError::InUse(shown(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_replaced_and_one_that_is_served_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smtp.sock");
        let (socket, file) = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(listen(&path), Err(BindError::InUse(_))));
        // As after a kill.
        std::mem::forget(file);
        drop(socket);
        let (_socket, new) = listen(&path).unwrap();
        fs::rename(&path, folder.path().join("away")).unwrap();
        fs::write(&path, "of somebody else").unwrap();
        drop(new);
        assert!(path.exists(), "the file of another one stays");
        fs::remove_file(&path).unwrap();
        let (_socket, last) = listen(&path).unwrap();
        drop(last);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter.txt");
        fs::write(&path, "keep me").unwrap();
        assert!(matches!(listen(&path), Err(BindError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");
        assert!(matches!(listen(&folder.path().join("no/where")), Err(BindError::Socket(..))));
    }
}
