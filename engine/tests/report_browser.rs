//! Reports as people see them, in Debian's `chromium` (`apt-get install chromium`): what is drawn, what toggles, and that
//! nothing leaves the page.

mod support;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Emulation, Network};
use headless_chrome::{Browser, LaunchOptions, Tab};
use quorumbench::report::document::Chart;
use serde_json::{Value as Json, json};
use support::Ran;
use support::reported::{failover, gossip, hostile_name, lines, make_hostile, reconciliation, report, sweep};

/// By `CHROMIUM`, or by its name in `PATH`.
fn chromium() -> PathBuf {
    let named = env::var_os("CHROMIUM").map(PathBuf::from);
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = || {
        let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
        let all = env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name)));
        all.into_iter().find(|path| path.is_file())
    };
    let path = named.or_else(found);
    path.filter(|path| path.is_file()).expect(
        "these tests look at pages in Chromium, and there is none: `apt-get install chromium`, or set CHROMIUM to the program",
    )
}

/// A page in a browser of its own.
struct Page {
    tab: Arc<Tab>,
    url: String,
    complaints: Arc<Mutex<Vec<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
    _browser: Browser,
}

impl Page {
    /// The report of runs, as `run` leaves it in the first one's folder.
    fn of(dirs: &[&Path]) -> Self {
        let file = dirs[0].join("report.html");
        report(dirs).write(&file).expect("it can be written");
        let file = file.canonicalize().expect("it is there");
        Self::open(&format!("file://{}", file.display()))
    }

    fn open(url: &str) -> Self {
        let options = LaunchOptions::default_builder()
            .path(Some(chromium()))
            // The sandbox wants rights that containers seldom give.
            .sandbox(false)
            .window_size(Some((1400, 1000)))
            .build()
            .expect("options");
        let browser = Browser::new(options).expect("Chromium starts");
        let tab = browser.new_tab().expect("a tab");
        tab.set_default_timeout(Duration::from_secs(60));
        let (complaints, requests) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (said, asked) = (complaints.clone(), requests.clone());
        let listener = move |event: &Event| match event {
            Event::LogEntryAdded(event) => said.lock().expect("alive").push(event.params.entry.text.clone()),
            Event::RuntimeExceptionThrown(event) => {
                said.lock().expect("alive").push(format!("{:?}", event.params.exception_details));
            }
            Event::RuntimeConsoleAPICalled(event) => {
                said.lock().expect("alive").push(format!("{:?}", event.params.args));
            }
            Event::NetworkRequestWillBeSent(event) => {
                asked.lock().expect("alive").push(event.params.request.url.clone());
            }
            _ => {}
        };
        tab.add_event_listener(Arc::new(listener)).expect("it listens");
        tab.enable_log().and_then(|tab| tab.enable_runtime()).expect("it logs");
        let network = Network::Enable {
            max_total_buffer_size: None,
            max_resource_buffer_size: None,
            max_post_data_size: None,
            report_direct_socket_traffic: None,
            enable_durable_messages: None,
        };
        tab.call_method(network).expect("it watches the network");
        tab.navigate_to(url).and_then(|tab| tab.wait_until_navigated()).expect("it opens");
        let page = Self { tab, url: url.to_owned(), complaints, requests, _browser: browser };
        page.wait("document.readyState", &json!("complete"));
        page
    }

    /// What an expression is, as JSON.
    fn ask(&self, expression: &str) -> Json {
        let text = self.tab.evaluate(&format!("JSON.stringify({expression})"), true).expect("it answers").value;
        let text = text.as_ref().and_then(Json::as_str).unwrap_or("null");
        serde_json::from_str(text).expect("JSON")
    }

    fn run(&self, statements: &str) {
        self.tab.evaluate(statements, true).expect("it runs");
    }

    /// Waits until an expression is that.
    fn wait(&self, expression: &str, expected: &Json) {
        let late = Instant::now() + Duration::from_secs(30);
        while self.ask(expression) != *expected {
            assert!(Instant::now() < late, "{expression} is {}, not {expected}", self.ask(expression));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Nobody complained, and nothing was asked for but the page.
    fn is_quiet(&self) {
        assert_eq!(*self.complaints.lock().expect("alive"), [""; 0]);
        let page = self.url.split('#').next().unwrap_or_default();
        let others: Vec<String> = self.requests.lock().expect("alive").clone();
        let others: Vec<&String> = others.iter().filter(|url| url.split('#').next() != Some(page)).collect();
        assert!(others.is_empty(), "{others:?}");
    }

    fn colour_scheme(&self, scheme: &str) {
        let feature = Emulation::MediaFeature { name: "prefers-color-scheme".into(), value: scheme.into() };
        let media = Emulation::SetEmulatedMedia { media: None, features: Some(vec![feature]) };
        self.tab.call_method(media).expect("it has one");
    }

    /// How many pixels of a chart's canvas are so, on white paper.
    fn pixels(&self, chart: usize, are: &str) -> u64 {
        // A copy is read, because canvases of the page are not for reading.
        let count = format!(
            "(() => {{
                const canvas = document.querySelectorAll('.chart canvas')[{chart}];
                const copy = document.createElement('canvas');
                [copy.width, copy.height] = [canvas.width, canvas.height];
                const context = copy.getContext('2d', {{ willReadFrequently: true }});
                context.fillStyle = '#fff';
                context.fillRect(0, 0, copy.width, copy.height);
                context.drawImage(canvas, 0, 0);
                const data = context.getImageData(0, 0, copy.width, copy.height).data;
                const are = (red, green, blue) => {are};
                let count = 0;
                for (let at = 0; at < data.length; at += 4) count += are(data[at], data[at + 1], data[at + 2]);
                return count;
            }})()"
        );
        self.ask(&count).as_u64().expect("a number")
    }

    /// Those that are no grey.
    fn coloured(&self, chart: usize) -> u64 {
        self.pixels(chart, "Math.max(red, green, blue) - Math.min(red, green, blue) > 60")
    }

    /// Waits until there are some of that very colour in the first chart, or none.
    fn wait_for_colour(&self, [red, green, blue]: [u8; 3], there: bool) {
        let late = Instant::now() + Duration::from_secs(30);
        let is_it = format!("red === {red} && green === {green} && blue === {blue}");
        while (self.pixels(0, &is_it) > 20) != there {
            assert!(Instant::now() < late, "{red} {green} {blue}: {}", self.pixels(0, &is_it));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The palette's first colour, by light and in the dark.
const FIRST: [[u8; 3]; 2] = [[0x00, 0x72, 0xb2], [0x56, 0xb4, 0xe9]];

/// How many dots each line of each chart has.
fn planned(charts: &[&Chart]) -> Json {
    charts.iter().map(|chart| chart.series.iter().map(|series| series.dots.len()).collect::<Vec<_>>()).collect()
}

const DRAWN: &str = "quorumbench.charts().map((chart) => chart.series.map((series) => series.drawn))";

#[test]
fn every_kind_of_run_is_drawn_as_it_was_described() {
    for ran in [sweep(), failover(), gossip(), reconciliation()] {
        let described = report(&[&ran.finished.dir]);
        let page = Page::of(&[&ran.finished.dir]);
        let sections = &described.document().sections;
        let charts: Vec<&Chart> =
            sections.iter().flat_map(|section| &section.figures).flat_map(|figure| &figure.charts).collect();
        page.wait(DRAWN, &planned(&charts));
        let ids: Vec<&str> = sections.iter().map(|section| section.id).collect();
        assert_eq!(page.ask("[...document.querySelectorAll('section')].map((section) => section.id)"), json!(ids));
        for chart in 0..charts.len() {
            assert!(page.coloured(chart) > 50, "{}: chart {chart} is empty", page.url);
        }
        let rows: usize = sections.iter().flat_map(|section| &section.tables).map(|table| table.rows.len()).sum();
        assert_eq!(page.ask("document.querySelectorAll('tbody tr').length"), json!(rows));
        page.is_quiet();
    }
}

/// By light, its first section drawn.
fn three_lines() -> (Ran, Page) {
    let ran = sweep();
    let page = Page::of(&[&ran.finished.dir]);
    page.colour_scheme("light");
    page.wait("quorumbench.charts()[0].series.map((series) => series.drawn)", &json!([2, 2, 2]));
    (ran, page)
}

const FIRST_TWO: &str = "quorumbench.charts().slice(0, 2).map((chart) => chart.series.map((series) => series.drawn))";
const PRESSED: &str =
    "[...document.querySelectorAll('#latency-1 button[data-key]')].map((button) => button.ariaPressed)";

#[test]
fn what_is_switched_off_is_off_and_the_address_says_so() {
    let (_ran, page) = three_lines();
    page.wait_for_colour(FIRST[0], true);
    page.run("document.querySelectorAll('#latency-1 button[data-key]')[1].click()");
    page.wait(FIRST_TWO, &json!([[2, 0, 2], [2, 0, 2]]));
    assert_eq!(page.ask("location.hash"), json!("#off=latency-1.1"));
    assert_eq!(page.ask(PRESSED), json!(["true", "false", "true"]));
    page.wait_for_colour(FIRST[0], false);
    // Others keep theirs.
    assert_eq!(page.ask("quorumbench.charts()[2].series.every((series) => series.drawn > 0)"), json!(true));
    page.run("document.querySelectorAll('#latency-1 button[data-key]')[2].click()");
    page.wait("location.hash", &json!("#off=latency-1.1,latency-1.2"));
    page.wait(FIRST_TWO, &json!([[2, 0, 0], [2, 0, 0]]));
    page.run("document.querySelectorAll('#latency-1 button[data-key]')[1].click()");
    page.wait(FIRST_TWO, &json!([[2, 2, 0], [2, 2, 0]]));
    page.run("history.back()");
    page.wait(FIRST_TWO, &json!([[2, 0, 0], [2, 0, 0]]));
    page.run(
        "[...document.querySelectorAll('#latency-1 .every')].find((button) => button.textContent === 'all').click()",
    );
    page.wait("location.hash", &json!(""));
    page.wait(FIRST_TWO, &json!([[2, 2, 2], [2, 2, 2]]));
    page.is_quiet();
}

#[test]
fn the_address_restores_the_selection() {
    let ran = sweep();
    let file = ran.finished.dir.join("report.html");
    report(&[&ran.finished.dir]).write(&file).expect("it can be written");
    let file = file.canonicalize().expect("it is there");
    let page = Page::open(&format!("file://{}#at=costs&off=latency-1.0,latency-1.2", file.display()));
    page.wait(FIRST_TWO, &json!([[0, 2, 0], [0, 2, 0]]));
    assert_eq!(page.ask(PRESSED), json!(["false", "true", "false"]));
    page.wait("scrollY > 0", &json!(true));
    // What is no chart and no section is passed over.
    page.run("location.hash = 'at=nowhere&off=latency-1.99,nothing,%22%3E'");
    page.wait(FIRST_TWO, &json!([[2, 2, 2], [2, 2, 2]]));
    page.is_quiet();
}

#[test]
fn values_are_those_of_the_lines() {
    let (ran, page) = three_lines();
    let lines = lines(&ran.finished.dir);
    // Cells of the table of costs: by protocol and rate, the medians of two repetitions.
    let rows = page.ask(
        "[...document.querySelectorAll('#costs tbody tr')].map((row) => [
            [...row.querySelectorAll('th')].map((name) => name.textContent),
            [...row.querySelectorAll('td')].map((cell) => Number(cell.dataset.value)),
        ])",
    );
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 6);
    for row in rows {
        let rate = row[0][1].as_str().and_then(|rate| rate.parse::<f64>().ok());
        let is_of = |line: &&Json| line["axes"]["protocol"] == row[0][0] && line["axes"]["rate"].as_f64() == rate;
        let of = |pointer: &str| -> f64 {
            let values: Vec<f64> =
                lines.iter().filter(is_of).filter_map(|line| line.pointer(pointer)?.as_f64()).collect();
            let [one, other] = values[..] else { panic!("two repetitions of {row}") };
            f64::midpoint(one, other)
        };
        for (column, pointer) in ["/completed_per_s", "/response_ns/p50", "/response_ns/p99"].iter().enumerate() {
            assert_eq!(row[1][column].as_f64(), Some(of(pointer)), "{row}: {pointer}");
        }
    }
    // And by the keyboard, dot by dot: what is shown is what was stored, to the last digit.
    page.run("document.querySelector('.chart').focus()");
    page.tab.press_key("ArrowRight").expect("a key");
    page.wait("document.getElementById('hover').hidden", &json!(false));
    let shown = page.ask("document.getElementById('hover').innerText");
    let shown = shown.as_str().expect("text");
    assert!(shown.contains("echo (floor)") && shown.contains("rate=100"), "{shown}");
    let document = report(&[&ran.finished.dir]).document().clone();
    let dot = &document.sections[0].figures[0].charts[0].series[0].dots[0];
    assert!(shown.contains(&dot.x.to_string()), "{shown}: {}", dot.x);
    page.tab.press_key("Escape").expect("a key");
    page.wait("document.getElementById('hover').hidden", &json!(true));
    page.is_quiet();
}

#[test]
fn a_mouse_near_a_dot_shows_it() {
    let (_ran, page) = three_lines();
    // Where the last dot of the last line is.
    page.run(
        "document.querySelector('.chart').scrollIntoView();
        const over = document.querySelector('.chart .u-over');
        const box = over.getBoundingClientRect();
        for (let at = 0; at < box.width; at += 5) {
            for (let down = 0; down < box.height; down += 5) {
                const place = { clientX: box.left + at, clientY: box.top + down, bubbles: true };
                if (document.getElementById('hover').hidden) over.dispatchEvent(new PointerEvent('pointermove', place));
            }
        }",
    );
    assert_eq!(page.ask("document.getElementById('hover').hidden"), json!(false));
    let shown = page.ask("document.getElementById('hover').innerText");
    assert!(shown.as_str().is_some_and(|text| text.contains("p50 response time: ")), "{shown}");
    page.run("document.querySelector('.chart .u-over').dispatchEvent(new PointerEvent('pointerleave'))");
    assert_eq!(page.ask("document.getElementById('hover').hidden"), json!(true));
    page.is_quiet();
}

#[test]
fn hostile_names_are_shown_as_text() {
    let ran = sweep();
    make_hostile(&ran.finished.dir);
    let page = Page::of(&[&ran.finished.dir]);
    page.wait("quorumbench.charts()[0].series.map((series) => series.drawn)", &json!([2, 2, 2]));
    let name = json!(hostile_name());
    assert_eq!(page.ask("document.querySelectorAll('#latency-1 .name')[2].textContent"), name);
    assert_eq!(page.ask("quorumbench.charts()[0].series[2].name"), name);
    let asked = page.ask("document.querySelector('.asked').textContent");
    assert!(asked.as_str().is_some_and(|text| text.contains(&hostile_name())), "{asked}");
    assert_eq!(page.ask("[...document.querySelectorAll('#config td')].some((cell) => cell.textContent === document.querySelectorAll('#latency-1 .name')[2].textContent)"), json!(true));
    assert_eq!(page.ask("window.hacked === undefined"), json!(true));
    assert_eq!(page.ask("document.querySelectorAll('img, script').length"), json!(3), "its own scripts");
    // However long a name is, the page is as wide as the window.
    assert_eq!(page.ask("document.documentElement.scrollWidth <= innerWidth"), json!(true));
    page.is_quiet();
}

#[test]
fn it_is_readable_in_the_dark_and_on_paper() {
    let (_ran, page) = three_lines();
    let background = "getComputedStyle(document.body).backgroundColor";
    page.colour_scheme("light");
    page.wait(background, &json!("rgb(255, 255, 255)"));
    page.colour_scheme("dark");
    page.wait(background, &json!("rgb(20, 24, 28)"));
    // Lines are drawn again, in colours for the dark.
    page.wait_for_colour(FIRST[1], true);
    let pdf = page.tab.print_to_pdf(None).expect("it prints");
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 20_000, "{} bytes", pdf.len());
    // Afterwards it is as it was.
    page.wait("document.documentElement.dataset.print === undefined", &json!(true));
    page.wait_for_colour(FIRST[1], true);
    page.is_quiet();
}
