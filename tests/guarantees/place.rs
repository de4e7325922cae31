//! Where a test's worker has its settings file and its folders. Removed when dropped.

use std::{fs, path::PathBuf};

use crate::{
    support::process::Process,
    system::{System, start_worker},
};

pub struct Place(pub PathBuf);

impl Place {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("longshore-place-test-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        fs::create_dir_all(path.join("tmp")).expect("made");
        Self(path)
    }

    /// Writes the settings file, and returns its path.
    pub fn settings(&self, text: &str) -> String {
        let file = self.0.join("longshore.toml");
        fs::write(&file, text).expect("written");
        file.to_str().expect("text").to_owned()
    }

    /// Starts a worker with a settings file.
    pub async fn worker(&self, system: &System, settings: &str, env: &[(&str, &str)]) -> Process {
        let config = self.settings(settings);
        let tmp = self.0.join("tmp");
        let own = [("LONGSHORE_CONFIG", config.as_str()), ("TMPDIR", tmp.to_str().expect("text"))];
        start_worker(system.database.url(), &[&own[..], env].concat()).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
