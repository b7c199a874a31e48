/// Defects, each with the scenario of tests/sources that finds it and words of what it must then say; tests/faults leaves these
/// to it.
pub const PLANTED: [(&str, &str, &str); 4] = [
    ("copy_end_believed", "an answer that ends behind CopyDone proves nothing", "BehindCopyDone: "),
    ("trailer_ignored", "an answer without its trailer proves nothing", "Trailer: "),
    ("cancel_not_sent", "a stop ends the query at the server", "the server was asked"),
    (
        "etag_ignored",
        "an object that is replaced while it is read is never mixed",
        "rows of two states",
    ),
];
