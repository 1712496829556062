//! Why a device cannot be opened, in words that help.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a device cannot be opened, and what to do.
pub(super) struct Trouble<'a> {
    path: &'a Path,
    error: &'a tokio_serial::Error,
}

impl<'a> Trouble<'a> {
    pub(super) const fn new(path: &'a Path, error: &'a tokio_serial::Error) -> Self {
        Self { path, error }
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use tokio_serial::ErrorKind;
        let path = self.path.display();
        match self.error.kind() {
            ErrorKind::Io(io::ErrorKind::NotFound) => write!(
                f,
                "{path} is not there: plug the radio in, or correct path (ls /dev/serial/by-id \
                 shows the lines)"
            ),
            ErrorKind::Io(io::ErrorKind::PermissionDenied) => write!(
                f,
                "{path} may not be opened: add the gateway's user to the device's group (usually \
                 `usermod -aG dialout USER`, then log in again)"
            ),
            ErrorKind::NoDevice => write!(
                f,
                "{path} is in use: another program has it (`fuser -v {path}` shows which); end it"
            ),
            _ => write!(f, "{path} cannot be opened: {}", self.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;
    use tokio_serial::SerialPortBuilderExt;

    use super::*;

    fn trouble(path: &Path) -> String {
        let error = tokio_serial::new(path.to_string_lossy(), 9600).open_native_async();
        Trouble::new(path, &error.unwrap_err()).to_string()
    }

    #[tokio::test]
    async fn every_trouble_names_the_path_and_what_to_do() {
        let missing = trouble(Path::new("/nonexistent/ttyUSB0"));
        assert!(
            missing.starts_with("/nonexistent/ttyUSB0 is not there: plug"),
            "{missing}"
        );

        let pty = openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        let _first = tokio_serial::new(path.to_string_lossy(), 9600)
            .open_native_async()
            .unwrap();
        let taken = trouble(&path);
        assert!(
            taken.contains(&format!("fuser -v {}", path.display())),
            "{taken}"
        );

        let file = tempfile::NamedTempFile::new().unwrap();
        let text = trouble(file.path());
        assert!(
            text.starts_with(&format!("{} cannot be opened: ", file.path().display())),
            "{text}"
        );

        // Whoever runs the tests as root may open everything.
        let kind = tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied);
        let error = tokio_serial::Error::new(kind, "Permission denied");
        let denied = Trouble::new(Path::new("/dev/ttyUSB0"), &error).to_string();
        assert!(
            denied.contains("/dev/ttyUSB0") && denied.contains("dialout"),
            "{denied}"
        );
    }
}
