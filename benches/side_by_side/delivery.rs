//! A full send to a loopback sink in batches of 100, everything kept, against drt, which keeps nothing.

use std::io;
use std::time::{Duration, Instant};

use crate::Options;
use crate::data;
use crate::delta::expect;
use crate::peers::Peers;
use crate::process::median;
use crate::product::{FILE, Workspace};
use crate::sink::Sink;
use crate::table::Table;

pub fn run(options: &Options, peers: Option<&Peers>, sink: &Sink) -> io::Result<()> {
    let records = options.records;
    let [data, _] = data::files(&options.folder, records)?;
    println!("delivery of {records} records");
    let folder = options.folder.join(format!("delivery-{records}"));
    let (mut product, mut drt) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let workspace = Workspace::create(&folder, FILE, sink.address, options.concurrency)?;
        workspace.set_source(&data)?;
        sink.take();
        let start = Instant::now();
        let (full, answer) = workspace.sync()?;
        expect(answer["tally"]["delivered"].as_u64().unwrap_or(0), records)?;
        let taken = sink.take();
        expect(taken.records, records)?;
        product.push(full);
        if round == 0 {
            println!("  {} requests, {} bytes", taken.requests, taken.bytes);
            let first = taken.first.map_or(Duration::ZERO, |first| first.duration_since(start));
            println!("  the first request {} ms after the start of the process", first.as_millis());
            println!("  state afterwards: {} MB", workspace.state_size()? / 1_000_000);
        }
        if let Some(peers) = peers {
            drt.push(peers.drt(&data, sink.address)?);
            let taken = sink.take();
            expect(taken.records, records)?;
            if round == 0 {
                println!("  drt: {} requests, {} bytes", taken.requests, taken.bytes);
            }
        }
        println!("  round {} of {}", round + 1, options.rounds);
    }
    let mut table = Table::with_rate(records);
    if peers.is_some() {
        let drt = median(&drt);
        table.add("drt 1.2.1", &drt, None);
        table.add("`sync`: full", &median(&product), Some(("drt", &drt)));
    } else {
        table.add("`sync`: full", &median(&product), None);
    }
    table.print();
    Ok(())
}
