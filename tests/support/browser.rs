//! Headless Chromium, by the WebDriver protocol.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::upstream::read_response;

/// A browser with an empty profile; both are gone when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    addr: String,
    session: String,
    profile: PathBuf,
}

/// The first of these programs that is installed.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let all = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|program| program.is_file())
}

impl Browser {
    /// Starts one, or says what is missing.
    pub(crate) async fn start(width: u32, height: u32) -> Option<Self> {
        let chromium = find(&["chromium", "chromium-browser", "google-chrome"]);
        let driver = find(&["chromedriver"]);
        let (Some(chromium), Some(driver)) = (chromium, driver) else {
            eprintln!("skipped: chromium and chromedriver are not installed");
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver starts");
        let output = BufReader::new(driver.stdout.take().expect("piped"));
        let port = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| port_in(&line))
            .expect("chromedriver says on which port it is");
        let profile = std::env::temp_dir().join(format!("admin-page-{}", std::process::id()));
        let mut browser = Self {
            driver,
            addr: format!("127.0.0.1:{port}"),
            session: String::new(),
            profile,
        };
        let capabilities = capabilities(&chromium, &browser.profile, width, height);
        let created = browser.call("POST", "/session", &capabilities).await;
        browser.session = created["sessionId"].as_str().expect("an id").to_owned();
        Some(browser)
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.addr).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let reading = read_response(&mut stream);
        let read = tokio::time::timeout(Duration::from_secs(120), reading).await;
        let text = read.expect("chromedriver answers");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut answer: Value = serde_json::from_str(body).expect("JSON");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {text}");
        answer["value"].take()
    }

    async fn ask(&self, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call("POST", &path, body).await
    }

    pub(crate) async fn open(&self, url: &str) {
        self.ask("/url", &json!({ "url": url })).await;
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.ask("/execute/sync", &body).await
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        for _ in 0..300 {
            if self.run(&script).await == Value::Bool(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let text = self.run("return document.body.innerText").await;
        panic!(
            "{expression} did not come true:\n{}",
            text.as_str().unwrap_or_default()
        );
    }

    async fn element(&self, selector: &str) -> String {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.ask("/element", &body).await;
        let id = found.as_object().and_then(|object| object.values().next());
        id.and_then(Value::as_str).expect("an element").to_owned()
    }

    /// Clicks an element, as a person would: it must be visible.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.ask(&format!("/element/{element}/click"), &json!({}))
            .await;
    }

    /// Types into the page, wherever the focus is.
    pub(crate) async fn press(&self, key: &str) {
        let actions: Vec<_> = ["keyDown", "keyUp"]
            .map(|kind| json!({ "type": kind, "value": key }))
            .into();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.ask("/actions", &json!({ "actions": [keyboard] }))
            .await;
    }

    /// Pretends to be a screen of this width.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let params =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": params });
        self.ask("/goog/cdp/execute", &command).await;
    }

    /// What went wrong on the page, by its console.
    pub(crate) async fn complaints(&self) -> Value {
        self.ask("/se/log", &json!({ "type": "browser" })).await
    }

    pub(crate) async fn quit(self) {
        let path = format!("/session/{}", self.session);
        self.call("DELETE", &path, &json!({})).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Which ends the browser, too.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn port_in(line: &str) -> Option<u16> {
    let after = line.split("started successfully on port ").nth(1)?;
    after.trim_end_matches('.').parse().ok()
}

fn capabilities(chromium: &Path, profile: &Path, width: u32, height: u32) -> Value {
    let mut args: Vec<String> = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    .map(str::to_owned)
    .into();
    args.push(format!("--user-data-dir={}", profile.display()));
    args.push(format!("--window-size={width},{height}"));
    json!({ "capabilities": { "alwaysMatch": {
        "goog:chromeOptions": { "binary": chromium, "args": args },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}
