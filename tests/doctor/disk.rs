//! A disk that gets full: a small file system of its own, where this user may make one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::place::Place;

/// Taken away when dropped.
struct Small(PathBuf);

impl Small {
    /// `None`: this user may not.
    fn of(size: &str) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("longshore-disk-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path)),
            other => {
                fs::remove_dir(&path).expect("it is empty");
                eprintln!("no file system of its own ({other:?}): how full is too full is tested by common/src/doctor/disk.rs alone");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn write(path: &Path, mebibytes: usize) {
    fs::write(path, vec![1; mebibytes << 20]).expect("write");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_nearly_full() {
    // of memory, it takes what is written alone; 1 GiB must be free
    let Some(disk) = Small::of("1224m") else { return };
    let folder = disk.0.join("server");
    let place = Place::start_in(folder.clone(), &[]).await;
    let seen = async || place.doctor().await.checks["disk"].clone();
    let check = seen().await;
    assert!(check["level"] == "ok" && check["detail"].as_str().is_some_and(|detail| detail.contains(&*folder.to_string_lossy())), "{check}");
    let scrap = disk.0.join("a-log-nobody-rotates");
    write(&scrap, 199);
    let check = seen().await;
    let says = |part: &str, text: &str| check[part].as_str().is_some_and(|said| said.contains(text));
    assert!(check["level"] == "fail" && says("detail", "of 1.2 GiB are free at") && says("detail", &folder.to_string_lossy()), "{check}");
    assert!(says("remedy", "make room there"), "{check}");
    fs::remove_file(&scrap).expect("remove");
    assert_eq!(seen().await["level"], "ok");
    drop(place);
}
