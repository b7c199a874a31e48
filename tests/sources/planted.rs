/// Defects, each with the scenario of tests/sources that finds it; tests/faults leaves these to it.
pub const PLANTED: [(&str, &str); 3] = [
    ("copy_end_believed", "an answer that ends behind CopyDone proves nothing"),
    ("trailer_ignored", "an answer without its trailer proves nothing"),
    ("cancel_not_sent", "a stop ends the query at the server"),
];
