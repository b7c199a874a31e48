//! Words that are decided but not built yet. They are refused by name: never ignored, and never taken for a slip of the pen.

/// Keys by the place they will have; `*` stands for any name.
const KEYS: &[(&str, &[&str])] = &[
    ("", &["log", "defaults", "presets"]),
    ("/server", &["auth", "token", "tls"]),
    (
        "/sources/*",
        &[
            "sqlite",
            "duckdb",
            "snowflake",
            "bigquery",
            "redshift",
            "flight_sql",
            "adbc",
            "delta",
            "iceberg",
            "cursor",
            "disabled",
            "paused",
        ],
    ),
    ("/sources/*/files/*", &["json", "avro", "iceberg", "cursor", "quote"]),
    ("/sources/*/postgres", &["read"]),
    ("/models/*", &["parameters", "materialize"]),
    ("/connections/*", &["windows", "limits", "priority", "lookup", "disabled"]),
    (
        "/connections/*/http",
        &[
            "tls",
            "proxy",
            "hosts",
            "gzip",
            "capture",
            "test",
            "limits",
            "windows",
            "query",
            "user_agent",
        ],
    ),
    (
        "/connections/*/http/auth",
        &[
            "oauth2",
            "hmac",
            "header",
            "query",
            "jwt_bearer",
            "sigv4",
            "aws_sigv4",
            "api_key",
            "several",
        ],
    ),
    ("/connections/*/retry", &["penalty", "until", "remaining"]),
    (
        "/syncs/*",
        &[
            "keep_values",
            "insert",
            "update",
            "add",
            "remove",
            "mixed",
            "lookup",
            "capture",
            "captures",
            "job",
            "session",
            "cursor",
            "waivers",
            "group_by",
            "identify",
            "full_mirror",
            "verify",
            "transform",
            "sample",
        ],
    ),
    ("/syncs/*/guard", &["max_upserts", "max_changes", "max_rejected"]),
    (
        "/syncs/*/{request}",
        &[
            "group_by",
            "gzip",
            "query",
            "job",
            "lookup",
            "capture",
            "fallback",
            "session",
            "content_type",
            "get",
            "response",
            "mixed",
            "verify",
            "wait",
        ],
    ),
    (
        "/syncs/*/{request}/batch",
        &["unique_key", "uniform_keys", "record_bytes", "url_bytes", "longest_wait"],
    ),
    (
        "/syncs/*/{request}/body",
        &["ndjson", "csv", "form", "multipart", "text", "columnar", "gzip", "xml"],
    ),
    ("/syncs/*/{request}/idempotency", &["query", "path", "field", "duplicate"]),
    (
        "/syncs/*/{request}/outcome/*",
        &[
            "capture",
            "wait",
            "expect_nonempty",
            "expect_count",
            "map",
            "items",
            "headers",
            "matches",
            "text",
            "job",
            "unnamed",
        ],
    ),
    (
        "/syncs/*/{request}/outcome/*/then",
        &["job", "async", "throttle", "queued", "reauth", "fallback"],
    ),
    (
        "/syncs/*/{request}/outcome/*/then/per_record",
        &[
            "unnamed", "step", "key", "token", "errors", "index", "base", "pattern", "capture",
            "fallback", "lists", "rejected", "where", "case",
        ],
    ),
];

/// Values by the place they will have.
const VALUES: &[(&str, &[&str])] = &[
    ("/syncs/*/mode", &["insert", "update"]),
    ("/syncs/*/{request}/outcome/*/decode", &["ndjson", "csv", "text", "tar_gz_json"]),
    (
        "/syncs/*/{request}/outcome/*/then",
        &["throttle", "reauth", "async", "queued", "job", "accepted", "fallback"],
    ),
    (
        "/syncs/*/{request}/outcome/*/then/per_record/by",
        &[
            "key",
            "error_index",
            "error_pointer",
            "token",
            "key_lists",
            "key_map",
            "count_only",
            "count",
        ],
    ),
    ("/syncs/*/{request}/idempotency/repeat", &["duplicate"]),
];

/// Whether a key named `name` will have a place in what stands at the pointer.
pub fn is_key(pointer: &str, name: &str) -> bool {
    stands(KEYS, pointer, name)
}

/// Whether `text` will be a value at the pointer.
pub fn is_value(pointer: &str, text: &str) -> bool {
    stands(VALUES, pointer, text)
}

/// The remedy, the same everywhere.
pub const REMEDY: &str = "remove it for now; nothing of it would be done";

fn stands(table: &[(&str, &[&str])], pointer: &str, name: &str) -> bool {
    table.iter().any(|(pattern, names)| names.contains(&name) && fits(pattern, pointer))
}

fn fits(pattern: &str, pointer: &str) -> bool {
    let mut segments = pointer.split('/');
    let mut patterns = pattern.split('/');
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some("*"), Some(_)) | (Some("{request}"), Some("upsert" | "delete")) => {}
            (Some(expected), Some(found)) if expected == found => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_in_their_place_only() {
        assert!(is_key("/sources/lake", "sqlite"));
        assert!(is_key("/syncs/crm/delete/outcome/3", "capture"));
        assert!(!is_key("/syncs/crm/other/outcome/3", "capture"));
        assert!(!is_key("/sources", "sqlite"));
        assert!(is_value("/syncs/crm/upsert/outcome/0/then/per_record/by", "error_index"));
        assert!(!is_value("/syncs/crm/mode", "mirror"));
    }
}
