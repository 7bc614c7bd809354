//! Prints the batches and records of a log segment, or of the records in a Fetch answer:
//! `cargo run --example dump_log -- 00000000000000000000.log`.

use std::{env, error::Error, fs};

use kmirror_protocol::records::{Batch, LogEntry, batches, decompress, records};

/// The most that one batch may unfold to, in bytes.
const UNFOLDED_LEN_MAX: usize = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: dump_log FILE")?;
    let log = fs::read(path)?;
    let mut entries = batches(&log);
    for entry in &mut entries {
        match entry? {
            LogEntry::Batch(batch) => print_batch(&batch)?,
            LogEntry::Legacy(message) => {
                println!("message at {} of magic {}", message.offset, message.magic);
                for record in &message.records(UNFOLDED_LEN_MAX)? {
                    print_record(record.offset, record.timestamp, record.key, record.value);
                }
            }
        }
    }
    if entries.incomplete_len() > 0 {
        println!(
            "and {} bytes of a batch that is cut off",
            entries.incomplete_len()
        );
    }
    Ok(())
}

fn print_batch(batch: &Batch<'_>) -> Result<(), Box<dyn Error>> {
    let Batch { header, payload } = batch;
    let codec = header.attributes.compression()?;
    println!(
        "batch at {} to {}: {} records, {} bytes, {codec}, producer {} epoch {} sequence {}, checksum {}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.size(),
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        if batch.verify_crc() { "right" } else { "WRONG" },
    );
    let plain = decompress(codec, payload, UNFOLDED_LEN_MAX)?;
    for record in records(&plain, header.record_count) {
        let record = record?;
        print_record(
            record.offset(header),
            record.timestamp(header),
            record.key,
            record.value,
        );
    }
    Ok(())
}

fn print_record(offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
    println!("  {offset} @{timestamp} {} = {}", shown(key), shown(value));
}

fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(
        || "null".to_owned(),
        |bytes| bytes.escape_ascii().to_string(),
    )
}
