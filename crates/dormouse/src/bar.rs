//! What is shown on a terminal while something takes long, and is gone when it is done.
//!
//! ```text
//!   ⠹ removing checkpoints, 3s                                               nobody knows how much there is
//!   reading the program's memory [=======>      ] 1.13 GiB of 2.00 GiB, ...    a meter counts it
//! ```
//!
//! Nothing where stderr is not a terminal, and nothing before a moment has passed.

use dormouse::Meter;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is done sooner needs nothing to be shown.
const PATIENCE: Duration = Duration::from_millis(400);
/// It is drawn this often.
const TICK: Duration = Duration::from_millis(100);

const AMOUNTS: &str = "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta}";
const TIME: &str = "{spinner} {msg}, {elapsed}";

/// Turns until it is dropped.
pub struct Spinner {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    /// Shows for how long it has been going on.
    pub fn start(message: impl Into<String>) -> Spinner {
        Spinner::counting(message, Meter::default())
    }

    /// Shows how far the meter is, as soon as that says how far it is to go.
    pub fn counting(message: impl Into<String>, meter: Meter) -> Spinner {
        if !std::io::stderr().is_terminal() {
            return Spinner { end: None, thread: None };
        }
        let message = message.into();
        let (end, ended) = channel::<()>();
        let turn = move || {
            let over = |time| ended.recv_timeout(time) != Err(RecvTimeoutError::Timeout);
            if over(PATIENCE) {
                return;
            }
            let bar = ProgressBar::new_spinner().with_message(message).with_elapsed(PATIENCE);
            let mut shown = Shown::Time;
            loop {
                shown = draw(&bar, &meter, shown);
                if over(TICK) {
                    break bar.finish_and_clear();
                }
            }
        };
        let thread = std::thread::Builder::new().spawn(turn).ok();
        Spinner { end: Some(end), thread }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a bar looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Time,
    Amounts,
}

/// Draws it as it is now.
fn draw(bar: &ProgressBar, meter: &Meter, shown: Shown) -> Shown {
    let (done, total) = (meter.done(), meter.total());
    if total == 0 {
        if shown == Shown::Amounts || bar.position() == 0 {
            bar.set_style(style(TIME));
        }
        bar.tick();
        return Shown::Time;
    }
    if shown == Shown::Time {
        bar.set_style(style(AMOUNTS));
    }
    bar.set_length(total);
    bar.set_position(done.min(total));
    Shown::Amounts
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// Bytes that are on their way, told by whoever sends them; gone when dropped.
#[cfg(feature = "registry")]
pub struct Bar(Option<ProgressBar>);

#[cfg(feature = "registry")]
impl Bar {
    /// Nothing where stderr is not a terminal.
    pub fn start(message: String) -> Bar {
        if !std::io::stderr().is_terminal() {
            return Bar(None);
        }
        let bar = ProgressBar::new(0).with_message(message);
        bar.set_style(style(AMOUNTS));
        Bar(Some(bar))
    }

    /// So much of it is done.
    pub fn set(&self, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done);
        }
    }
}

#[cfg(feature = "registry")]
impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::io;
    use std::sync::{Arc, Mutex};

    /// A terminal of one line that is 100 wide.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn text(&self) -> String {
            self.0.lock().unwrap().trim_end().to_owned()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, s: &str) -> io::Result<()> {
            self.write_str(s)
        }
        fn write_str(&self, s: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(s);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn bar(screen: &Screen, message: &'static str) -> ProgressBar {
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        ProgressBar::with_draw_target(None, target).with_message(message)
    }

    #[test]
    fn time_until_amounts_are_known() {
        let (screen, meter) = (Screen::default(), Meter::default());
        let bar = bar(&screen, "reading").with_elapsed(Duration::from_secs(75));
        let shown = draw(&bar, &meter, Shown::Time);
        assert_eq!(shown, Shown::Time);
        assert!(screen.text().ends_with(" reading, 75s"), "{:?}", screen.text());
        meter.expect(4 << 20);
        let shown = draw(&bar, &meter, shown);
        assert_eq!(shown, Shown::Amounts);
        let text = screen.text();
        assert!(
            text.starts_with(&format!("reading [{}] 0 B of 4.00 MiB", " ".repeat(30))),
            "{text:?}"
        );
        bar.finish_and_clear();
        assert_eq!(screen.text(), "");
    }

    #[test]
    fn what_a_store_does_is_seen() {
        let (screen, meter) = (Screen::default(), Meter::default());
        let bar = bar(&screen, "verifying");
        let dir = tempfile::tempdir().unwrap();
        let store = dormouse_store::Store::create_or_open(dir.path()).unwrap();
        let module = wat::parse_str("(module)").unwrap();
        let state = dormouse_state::State {
            module_digest: dormouse_store::sha256(&module),
            frames: vec![dormouse_state::Frame {
                site: dormouse_state::Site { func: 0, offset: 0 },
                locals: vec![],
                operands: vec![],
            }],
            globals: vec![],
            tables: vec![],
            exceptions: vec![],
            memories: vec![],
            dropped_data: vec![],
            dropped_elems: vec![],
            wasi: vec![],
            host: vec![],
        };
        store.save("sim", dormouse_store::NewCheckpoint::new(&module, &state, &[])).unwrap();
        let all = store.sizes().unwrap().total;
        // Twice as much as there is.
        meter.expect(2 * all);
        {
            let _work = meter.work();
            store.verify().unwrap();
        }
        draw(&bar, &meter, Shown::Time);
        let text = screen.text();
        let half = format!("verifying [{}>{}] ", "=".repeat(15), " ".repeat(14));
        assert!(text.starts_with(&half), "{text:?}");
    }
}
