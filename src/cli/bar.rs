use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::progress::Progress;
use crate::shutdown::Tasks;

const REDRAW: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{spinner} {prefix} {msg} {elapsed}";

/// One line on standard error that says how far a run is; gone when dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    tasks: Tasks<()>,
}

impl Bar {
    /// Must be called within a runtime.
    pub fn start(sync: &str, progress: Arc<Progress>) -> Bar {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well-formed");
        let bar = ProgressBar::new_spinner().with_style(style).with_prefix(sync.to_owned());
        let mut tasks = Tasks::default();
        tasks.spawn(redraw(bar.clone(), progress));
        Bar { bar, tasks }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.tasks.abort_all();
        self.bar.finish_and_clear();
    }
}

async fn redraw(bar: ProgressBar, progress: Arc<Progress>) {
    let mut ticks = tokio::time::interval(REDRAW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        bar.set_message(line(&progress, bar.elapsed()));
        bar.tick();
    }
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let delivered = progress.delivered();
    format!(
        "rows read {}, delivered {delivered}, rejected {}, {}/s, in flight {}",
        progress.rows_read(),
        progress.rejected(),
        rate(delivered, elapsed),
        progress.in_flight(),
    )
}

/// Records a second, on average.
fn rate(delivered: u64, elapsed: Duration) -> u128 {
    u128::from(delivered) * 1_000 / elapsed.as_millis().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_every_count_and_the_rate() {
        let line = line(&Progress::default(), Duration::ZERO);
        assert_eq!(line, "rows read 0, delivered 0, rejected 0, 0/s, in flight 0");
        assert_eq!(rate(300, Duration::from_millis(1_500)), 200);
    }
}
