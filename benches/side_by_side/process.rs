//! Whole processes, measured from the outside: wall clock, processor time, peak resident memory.
//!
//! The kernel's own high-water mark (`VmHWM`) is read every two milliseconds while the process lives, so a peak in its
//! very last moment may be missed by as much as it grew in that time. Without `/proc` memory and processor time are 0.
//!
//! A virtual machine may have given the memory that nobody uses back to its host, and then waits for the host at every
//! first touch: up to fifty times as long as the touch takes by itself. Each process is measured with memory that is there.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(2);
/// Memory that is touched before a process begins: more than any takes at the default size.
const TOUCHED: usize = 1 << 30;
const PAGE: usize = 4096;
/// The unit of `/proc/PID/stat`.
const TICKS_A_SECOND: f64 = 100.0;

/// One process that ended well.
#[derive(Debug, Clone)]
pub struct Measured {
    pub seconds: f64,
    /// User and system, of all threads.
    pub processor_seconds: f64,
    /// Peak resident memory in bytes.
    pub peak: u64,
    /// Bytes of all write calls, to files and sockets.
    pub written: u64,
    pub output: String,
}

/// Runs it to its end; what it says besides its answer goes to `log`.
pub fn measure(command: &mut Command, log: &std::path::Path) -> io::Result<Measured> {
    let output = log.with_extension("out");
    command.stdin(Stdio::null()).stdout(fs::File::create(&output)?).stderr(fs::File::create(log)?);
    touch_memory()?;
    let start = Instant::now();
    let mut child = command.spawn()?;
    let (mut peak, mut ticks, mut written) = (0, 0, 0);
    let status = loop {
        peak = high_water(child.id()).unwrap_or(0).max(peak);
        ticks = processor_ticks(child.id()).unwrap_or(0).max(ticks);
        written = bytes_written(child.id()).unwrap_or(0).max(written);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(INTERVAL);
    };
    let seconds = start.elapsed().as_secs_f64();
    let output = fs::read_to_string(output)?;
    if !status.success() {
        let said = fs::read_to_string(log)?;
        return Err(io::Error::other(format!("{command:?}: {status}\n{output}\n{said}")));
    }
    let processor_seconds = f64::from(ticks) / TICKS_A_SECOND;
    Ok(Measured { seconds, processor_seconds, peak, written, output })
}

/// Has the machine's host give it memory, in large pages where there are any, which is free for others afterwards.
fn touch_memory() -> io::Result<()> {
    let mut memory = memmap2::MmapMut::map_anon(TOUCHED)?;
    #[cfg(target_os = "linux")]
    if memory.advise(memmap2::Advice::HugePage).is_err() {
        // A kernel without large pages gives small ones.
    }
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    Ok(())
}

fn high_water(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

fn bytes_written(process: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar:"))?.trim().parse().ok()
}

fn processor_ticks(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

/// Of several measurements: the median of each figure by itself.
pub fn median(all: &[Measured]) -> Measured {
    let middle = |figure: &dyn Fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = all.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let middle_of = |figure: &dyn Fn(&Measured) -> u64| {
        let mut figures: Vec<u64> = all.iter().map(figure).collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    };
    Measured {
        seconds: middle(&|one| one.seconds),
        processor_seconds: middle(&|one| one.processor_seconds),
        peak: middle_of(&|one| one.peak),
        written: middle_of(&|one| one.written),
        output: String::new(),
    }
}
