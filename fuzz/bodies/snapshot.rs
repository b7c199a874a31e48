//! The bytes of a manifest or a segment → entries or damage. Guards: never a panic; all ways to read the entries agree.

use std::sync::OnceLock;

use counterflow::snapshot::memory_disk::MemoryDisk;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Input;
use super::files::{self, HEADER, file_header, put_frame};

const MANIFEST: &str = "manifest";
const SEGMENT: &str = "segment-1";

/// The input is a byte that chooses what the rest is: 0 the manifest after its header, 1 the JSON of the manifest, 2 the
/// segment after its header, 3 the payloads of blocks, each with its length before it.
pub fn fuzz_snapshot(data: &[u8]) -> bool {
    static BASE: OnceLock<MemoryDisk> = OnceLock::new();
    let disk = BASE.get_or_init(files::small).copy();
    let mut input = Input { rest: data };
    let manifest = files::read(&disk, MANIFEST);
    match input.byte() % 4 {
        0 => disk.put(MANIFEST, [&manifest[..HEADER], input.rest].concat()),
        1 => {
            let lineage = files::payloads(&manifest)[0];
            let lineage: Value = serde_json::from_slice(lineage).expect("a manifest is JSON");
            let lineage = lineage["header"]["lineage"].as_str().expect("it has a lineage");
            // Seeds say `LINEAGE`, as it is another one each time.
            let text = String::from_utf8_lossy(input.rest).replace("LINEAGE", lineage);
            let mut file = manifest[..HEADER].to_vec();
            put_frame(&mut file, text.as_bytes());
            disk.put(MANIFEST, file);
        }
        2 => {
            let segment = files::read(&disk, SEGMENT);
            disk.put(SEGMENT, [&segment[..HEADER], input.rest].concat());
        }
        _ => put_segment(&disk, &manifest, &mut input),
    }
    files::read_all(&disk)
}

/// A segment of these blocks whose sums all add up, and a manifest that names it.
fn put_segment(disk: &MemoryDisk, manifest: &[u8], input: &mut Input<'_>) {
    let mut file = file_header(b"CFLOWSEG", &manifest[12..28]);
    let (mut blocks, mut count, mut entries) = (Vec::new(), 0_u32, 0_u64);
    while !input.rest.is_empty() && count < 8 {
        let payload = input.part();
        let stated = payload.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let offset = file.len() as u64;
        put_frame(&mut file, payload);
        let length = u32::try_from(file.len() as u64 - offset).expect("inputs are small");
        // The first one takes all hashes; the others begin somewhere behind it.
        blocks.extend_from_slice(&(u128::from(count) << 120).to_le_bytes());
        blocks.extend_from_slice(&offset.to_le_bytes());
        blocks.extend_from_slice(&length.to_le_bytes());
        blocks.extend_from_slice(&stated.to_le_bytes());
        (count, entries) = (count + 1, entries + u64::from(stated));
    }
    let mut footer = entries.to_le_bytes().to_vec();
    footer.extend_from_slice(&count.to_le_bytes());
    footer.extend_from_slice(&blocks);
    let footer_offset = file.len() as u64;
    let checksum = put_frame(&mut file, &footer);
    let trailer_offset = file.len() as u64;
    file.extend_from_slice(&footer_offset.to_le_bytes());
    let end = xxh3_64_with_seed(&footer_offset.to_le_bytes(), trailer_offset);
    file.extend_from_slice(&end.to_le_bytes());

    let json = files::payloads(manifest)[0];
    let mut json: Value = serde_json::from_slice(json).expect("a manifest is JSON");
    let bytes = file.len();
    json["segments"] =
        json!([{ "number": 1, "entries": entries, "bytes": bytes, "checksum": checksum }]);
    let mut changed = manifest[..HEADER].to_vec();
    put_frame(&mut changed, json.to_string().as_bytes());
    disk.put(SEGMENT, file);
    disk.put(MANIFEST, changed);
}
