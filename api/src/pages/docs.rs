//! `/docs`: Swagger UI over the API's own document.

use std::sync::LazyLock;

use bytes::Bytes;
use poem_openapi::OpenApiService;

use super::{CHANGES, Contents, File};

/// Like the dashboard's, but for styles: Swagger UI writes some into its elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

pub fn files(document: String) -> Vec<File> {
    let whole = |text: &'static str| Contents::Whole(Bytes::from_static(text.as_bytes()));
    let file = |path: &str, media_type, policy, contents| File { path: path.to_owned(), media_type, cache: CHANGES, policy, contents };
    vec![
        file("/docs", "text/html; charset=utf-8", Some(POLICY), whole(include_str!("docs.html"))),
        file("/docs/start.js", "text/javascript; charset=utf-8", None, whole(include_str!("start.js"))),
        file("/docs/swagger-ui.js", "text/javascript; charset=utf-8", None, Contents::Made(|| SWAGGER_UI.script.clone())),
        file("/docs/swagger-ui.css", "text/css; charset=utf-8", None, Contents::Made(|| SWAGGER_UI.style.clone())),
        // the same as /openapi.json: it holds no data
        file("/docs/openapi.json", "application/json", None, Contents::Whole(document.into())),
    ]
}

struct SwaggerUi {
    script: Bytes,
    style: Bytes,
}

/// poem-openapi brings Swagger UI along, inside a page of its own that has all of it inline. A policy that allows nothing inline
/// wants files.
static SWAGGER_UI: LazyLock<SwaggerUi> = LazyLock::new(|| {
    let page = OpenApiService::new((), "", "").swagger_ui_html();
    let part = |begin: &str, end: &str| {
        let part = page.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(part, _)| part);
        Bytes::copy_from_slice(part.unwrap_or_default().as_bytes())
    };
    SwaggerUi { script: part("<script charset=\"UTF-8\">", "</script>"), style: part("<style charset=\"UTF-8\">", "</style>") }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swagger_ui_is_whole() {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (script, style) = (text(&SWAGGER_UI.script), text(&SWAGGER_UI.style));
        assert!(script.contains("SwaggerUIBundle") && script.len() > 1_000_000, "{} bytes", script.len());
        assert!(style.contains(".swagger-ui") && style.len() > 100_000, "{} bytes", style.len());
        assert!(include_str!("start.js").contains("SwaggerUIBundle("));
        for path in include_str!("docs.html").split('"').filter(|part| part.starts_with("/docs")) {
            assert!(files(String::new()).iter().any(|file| file.path == path), "the page loads {path}");
        }
    }
}
