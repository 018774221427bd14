//! A registry on a free port.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Ended when dropped.
pub(crate) struct Registry {
    process: Child,
    _files: TempDir,
    pub(crate) address: String,
}

impl Registry {
    /// None where the program is not installed.
    pub(crate) fn start() -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let (data, config) = (files.path().join("data"), files.path().join("config.yml"));
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\nhttp: {{addr: \"{address}\"}}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = match command.spawn() {
            Ok(process) => Self { process, _files: files, address },
            Err(error) => {
                crate::machine::skip(&format!("docker-registry: {error}"));
                return None;
            }
        };
        for _ in 0..400 {
            if TcpStream::connect(&registry.address).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no registry at {}", registry.address);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
