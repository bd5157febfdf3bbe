//! The page of the gateway that shows its connections, in headless Chromium.

#[path = "support/browser.rs"]
mod browser;
mod support;
#[path = "support/upstream.rs"]
mod upstream;

use browser::Browser;
use support::Example;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use upstream::{Upstream, read_response};

const ENTER: &str = "\u{e007}";
const LEFT: &str = "\u{e012}";
const DOWN: &str = "\u{e015}";

async fn connect(gateway: &Example) -> TcpStream {
    TcpStream::connect(&gateway.addr).await.expect("connects")
}

async fn send(stream: &mut TcpStream, path: &str, fields: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
}

/// How many elements there are, as a condition.
fn count(selector: &str, is: usize) -> String {
    format!("document.querySelectorAll({selector:?}).length === {is}")
}

#[tokio::test]
async fn a_person_sees_what_the_connections_do() {
    let Some(browser) = Browser::start(1280, 1000).await else {
        return;
    };
    let upstream = Upstream::start().await;
    let to = format!("http://{}", upstream.addr);
    let gateway = Example::start("gateway", &["--admin", "127.0.0.1:0", "--upstream", &to]);
    browser.open(&format!("http://{}/", gateway.admin())).await;

    // Nothing yet: it says so, and how to change that.
    browser
        .until("document.querySelector('#empty').checkVisibility()")
        .await;
    let hint = format!(
        "document.querySelector('#empty').textContent.includes('curl http://{}/')",
        gateway.addr
    );
    browser.until(&hint).await;

    // One that is used twice and stays, one that is closed, one that waits for its answer.
    let mut kept = connect(&gateway).await;
    for path in ["/ok", "/error"] {
        send(&mut kept, path, "").await;
        read_response(&mut kept).await;
    }
    let mut closed = connect(&gateway).await;
    send(&mut closed, "/missing", "Connection: close\r\n").await;
    read_response(&mut closed).await;
    let mut busy = connect(&gateway).await;
    send(&mut busy, "/never", "").await;

    lanes_and_bars(&browser).await;
    filters(&browser).await;
    keyboard(&browser).await;
    pause(&browser, &gateway).await;
    small_screens(&browser).await;

    let complaints = browser.complaints().await;
    assert_eq!(complaints, serde_json::json!([]));
    browser.quit().await;
}

async fn lanes_and_bars(browser: &Browser) {
    browser
        .until("!document.querySelector('#empty').checkVisibility()")
        .await;
    browser.until(&count(".lane[data-side=server]", 3)).await;
    browser
        .until(&count(".lane[data-side=server][data-state=idle]", 1))
        .await;
    browser
        .until(&count(
            ".lane[data-side=server][data-state=active] .ex.open",
            1,
        ))
        .await;
    browser
        .until(&count(".lane[data-side=client] .ex.open", 1))
        .await;
    // 200 and 500 on the one that is kept, 404 on the one that is closed.
    browser
        .until(&count(".lane[data-side=server][data-state=idle] .ex", 2))
        .await;
    browser
        .until(&count(".lane[data-side=server] .ex.bad", 1))
        .await;
    browser
        .until(&count(".lane[data-state=closed] .ex.warn", 1))
        .await;
    browser
        .until("document.querySelector('.lane[data-state=closed] .end').textContent === 'peer requested'")
        .await;
    browser
        .until("document.querySelector('.lane[data-state=closed] .meta').innerText.includes('peer requested')")
        .await;
    browser
        .until("document.querySelector('.lane[data-state=idle][data-side=server] .meta').innerText.includes('2 exchanges')")
        .await;
    browser
        .until("document.querySelector('#server .big').textContent === '2'")
        .await;
    // A bar is where its time is, and an idle gap is as wide as it was long.
    browser
        .until(
            "(() => {
                const { lane } = document.querySelector('.lane[data-state=idle][data-side=server]');
                const [one, other] = lane.exchanges;
                const width = lane.track.getBoundingClientRect().width;
                const x = (ex) => ex.element.getBoundingClientRect().left;
                const drawn = x(other) - x(one), right = (other.start - one.start) / 60000 * width;
                return x(other) <= lane.track.getBoundingClientRect().right && Math.abs(drawn - right) < 2;
            })()",
        )
        .await;
}

async fn filters(browser: &Browser) {
    browser.click("#side label:nth-of-type(3)").await;
    browser.until(&count(".lane[data-side=server]", 0)).await;
    browser
        .until("document.querySelectorAll('.lane[data-side=client]').length > 0")
        .await;
    browser.until("location.search === '?side=client'").await;
    browser.click("#side label:nth-of-type(2)").await;
    browser.until(&count(".lane[data-side=server]", 3)).await;
    browser.until(&count(".lane[data-side=client]", 0)).await;
    // The address is enough to come back to it.
    browser.run("location.reload()").await;
    browser.until(&count(".lane[data-side=server]", 3)).await;
    browser.until(&count(".lane[data-side=client]", 0)).await;
}

async fn keyboard(browser: &Browser) {
    // One stop for Tab, arrows between lanes, Enter for details, arrows between exchanges.
    browser.until(&count(".name[tabindex='0']", 1)).await;
    browser.run("document.querySelector('.name').focus()").await;
    browser.press(DOWN).await;
    browser
        .until("document.activeElement === document.querySelectorAll('.name')[1]")
        .await;
    browser
        .run("document.querySelector('.lane[data-state=idle] .name').focus()")
        .await;
    browser.press(ENTER).await;
    browser
        .until(
            "document.querySelector('.lane[data-state=idle] .more').innerText.includes('GET 500')",
        )
        .await;
    browser.press(LEFT).await;
    browser
        .until("document.querySelector('#tip').innerText.includes('GET 500')")
        .await;
    browser.press(LEFT).await;
    browser
        .until("document.querySelector('#tip').innerText.includes('GET 200')")
        .await;
    browser
        .until("document.querySelector('#spoken').textContent.includes('answered by upstream')")
        .await;
    browser.press(ENTER).await;
    browser
        .until("!document.querySelector('.lane[data-state=idle] .more')")
        .await;
}

async fn pause(browser: &Browser, gateway: &Example) {
    browser.click("#pause").await;
    browser
        .until("document.querySelector('#pause').getAttribute('aria-pressed') === 'true'")
        .await;
    let mut late = connect(gateway).await;
    send(&mut late, "/ok", "").await;
    read_response(&mut late).await;
    let place =
        "return document.querySelector('.lane[data-state=idle] .ex').getBoundingClientRect().left";
    let before = browser.run(place).await;
    // Longer than the page waits between two looks.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(browser.run(place).await, before, "nothing moves");
    browser.until(&count(".lane[data-side=server]", 3)).await;
    browser.click("#pause").await;
    browser.until(&count(".lane[data-side=server]", 4)).await;
}

async fn small_screens(browser: &Browser) {
    browser.resize(360, 740).await;
    browser.until("innerWidth === 360").await;
    browser
        .until("document.documentElement.scrollWidth <= 360")
        .await;
    browser
        .until("document.querySelector('.lane .track').getBoundingClientRect().width > 280")
        .await;
}
