//! The dashboard's files: what Vite makes of `dashboard/src`. The gate makes them again and compares.

use bytes::Bytes;
use include_dir::{Dir, include_dir};

use super::{CHANGES, Contents, File, NEVER_CHANGES};

static DIST: Dir = include_dir!("$CARGO_MANIFEST_DIR/../dashboard/dist");

/// Nothing from elsewhere, nothing inline, nobody's frame. Pico's stylesheet draws its marks by `data:` URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

pub fn files() -> Vec<File> {
    let assets = DIST.get_dir("assets").into_iter().flat_map(Dir::files);
    let page = DIST.get_file("index.html");
    let file = |file: &'static include_dir::File<'static>| {
        let name = file.path().to_string_lossy();
        let is_page = name == "index.html";
        File {
            path: if is_page { "/".to_owned() } else { format!("/{name}") },
            media_type: media_type(&name),
            cache: if is_page { CHANGES } else { NEVER_CHANGES },
            policy: is_page.then_some(POLICY),
            contents: Contents::Whole(Bytes::from_static(file.contents())),
        }
    };
    page.into_iter().chain(assets).map(file).collect()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_and_has_a_media_type() {
        let files = files();
        let page = files.iter().find(|file| file.path == "/").expect("the page");
        let Contents::Whole(text) = &page.contents else { panic!("it is there from the start") };
        let text = std::str::from_utf8(text).expect("UTF-8");
        let loaded: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
        assert!(loaded.len() >= 3, "a script, styles, an icon: {loaded:?}");
        for path in loaded {
            assert!(files.iter().any(|file| file.path == path), "the page loads {path}");
        }
        assert!(!text.contains("<style") && !text.contains("<script>"), "its policy allows nothing inline");
        for file in &files {
            assert_ne!(file.media_type, "application/octet-stream", "{}", file.path);
        }
    }
}
