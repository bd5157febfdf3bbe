//! The page: what there is to fetch, and how a browser finds out.

use std::fmt::Write as _;

use bytes::Bytes;

/// Where the page itself is.
pub(crate) const INDEX: &str = "/index.html";

/// Paths and sizes as transferred, in the order in which the page refers to them.
const OBJECTS: [(&str, usize); 20] = [
    ("/style.css", 21_300),
    ("/font.woff2", 24_600),
    ("/app.js", 46_800),
    ("/logo.svg", 3_900),
    ("/icon-1.svg", 820),
    ("/icon-2.svg", 1_140),
    ("/icon-3.svg", 690),
    ("/icon-4.svg", 1_520),
    ("/icon-5.svg", 910),
    ("/photo-1.jpg", 88_400),
    ("/avatar-1.png", 6_200),
    ("/photo-2.jpg", 41_700),
    ("/avatar-2.png", 5_400),
    ("/photo-3.jpg", 36_100),
    ("/avatar-3.png", 7_100),
    ("/photo-4.jpg", 52_900),
    ("/icon-6.svg", 1_060),
    ("/photo-5.jpg", 29_500),
    ("/icon-7.svg", 1_330),
    ("/photo-6.jpg", 33_200),
];
/// Text between two references in the body of the page.
const PARAGRAPH: usize = 1_600;

/// An HTML page and the objects that it refers to, each with bytes of its own.
#[derive(Debug)]
pub(crate) struct Page {
    objects: Vec<(&'static str, Bytes)>,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self::of(&OBJECTS)
    }

    /// A page that refers to these.
    pub(crate) fn of(objects: &[(&'static str, usize)]) -> Self {
        let html = html(objects.iter().map(|&(path, _)| path));
        let objects = objects
            .iter()
            .map(|&(path, size)| (path, filler(path, size)));
        Self {
            objects: [(INDEX, Bytes::from(html))]
                .into_iter()
                .chain(objects)
                .collect(),
        }
    }

    /// What is at this path.
    pub(crate) fn get(&self, path: &str) -> Option<Bytes> {
        let mut objects = self.objects.iter();
        objects
            .find(|(at, _)| *at == path)
            .map(|(_, body)| body.clone())
    }

    /// How many objects there are, the page itself included.
    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The size of everything.
    pub(crate) fn bytes(&self) -> usize {
        self.objects.iter().map(|(_, body)| body.len()).sum()
    }
}

/// The type of what is at this path.
pub(crate) fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg") => "image/jpeg",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn html<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from("<!doctype html>\n<html><head><title>A page</title>\n");
    let mut in_head = true;
    for path in paths {
        let image = content_type(path).starts_with("image/");
        if image && in_head {
            in_head = false;
            text.push_str("</head><body>\n");
        }
        let _ = match content_type(path) {
            "text/css" => writeln!(text, r#"<link rel="stylesheet" href="{path}">"#),
            "text/javascript" => writeln!(text, r#"<script defer src="{path}"></script>"#),
            "font/woff2" => writeln!(text, r#"<link rel="preload" as="font" href="{path}">"#),
            _ => writeln!(text, r#"<img src="{path}" alt="">"#),
        };
        if image {
            text.push_str("<p>");
            text.extend("Words of the page. ".chars().cycle().take(PARAGRAPH));
            text.push_str("</p>\n");
        }
    }
    text.push_str("</body></html>\n");
    text
}

/// Bytes that no other path has: a response that went to the wrong request is noticed.
fn filler(path: &str, size: usize) -> Bytes {
    path.bytes().cycle().take(size).collect()
}

/// Finds the references in HTML as it arrives, as the preload scanner of a browser does: what the
/// attributes `src` and `href` name, as soon as their closing quote is there.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    text: Vec<u8>,
    from: usize,
}

impl Scanner {
    /// The next bytes; the references that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.text.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some((reference, end)) = self.next() {
            found.push(reference);
            self.from = end;
        }
        found
    }

    fn next(&self) -> Option<(String, usize)> {
        let rest = &self.text[self.from..];
        let at = |needle: &[u8]| {
            let found = rest.windows(needle.len()).position(|it| it == needle)?;
            Some(found + needle.len())
        };
        let (src, href) = (at(b" src=\""), at(b" href=\""));
        let start = src.into_iter().chain(href).min()?;
        let length = rest[start..].iter().position(|&byte| byte == b'"')?;
        let reference = String::from_utf8_lossy(&rest[start..start + length]).into_owned();
        Some((reference, self.from + start + length + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scanner_finds_every_object_in_order_however_the_page_is_cut() {
        let page = Page::new();
        let html = page.get(INDEX).expect("the page");
        for cut in [1, 7, 1460, html.len()] {
            let mut scanner = Scanner::default();
            let found: Vec<_> = html.chunks(cut).flat_map(|it| scanner.feed(it)).collect();
            let all: Vec<_> = OBJECTS.iter().map(|(path, _)| *path).collect();
            assert_eq!(found, all, "cut into {cut}");
        }
    }

    #[test]
    fn a_reference_is_found_when_its_last_quote_is_there_and_not_before() {
        let mut scanner = Scanner::default();
        assert!(scanner.feed(b"<img src=\"/a.pn").is_empty());
        assert!(scanner.feed(b"g").is_empty());
        assert_eq!(
            scanner.feed(b"\" alt=\"\"><link href=\"/b\">"),
            ["/a.png", "/b"]
        );
    }

    #[test]
    fn the_page_is_larger_than_an_initial_window_and_its_paths_are_unique() {
        let page = Page::new();
        assert!(page.get(INDEX).expect("the page").len() > 10 * 1460);
        let mut paths: Vec<_> = page.objects.iter().map(|(path, _)| path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), page.len());
    }

    #[test]
    fn objects_have_their_size_and_bytes_of_their_own() {
        let page = Page::of(&[("/a.png", 5), ("/b.png", 5)]);
        assert_eq!(page.get("/a.png").expect("there").len(), 5);
        assert_ne!(page.get("/a.png"), page.get("/b.png"));
        assert_eq!(page.get("/c.png"), None);
    }
}
