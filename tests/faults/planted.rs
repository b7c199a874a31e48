//! Defects that `COUNTERFLOW_DEFECT` plants in the product, each with a scenario that must fail on it.

/// The defect, and the name of the scenario.
pub const PLANTED: &[(&str, &str)] = &[
    ("redirect_taken_for_success", "a redirect is never a receipt and no token is sent on"),
    ("html_taken_for_success", "a 200 without the declared shape is never a receipt"),
    ("batch_verdict", "an error inside of 200 or 207 is that record's alone"),
    ("secret_in_error", "a refusal that repeats what was sent gives nothing of it away"),
    ("unlimited_answer", "an answer without an end takes bounded memory"),
    ("retry_after_ignored", "a Retry-After is waited for"),
    ("counts_off_by_retry", "what was taken and dropped is sent again"),
    ("two_in_flight_per_key", "an answer that comes too slowly is given up in time"),
    ("retry_with_new_key", "what was applied without an answer is asserted again"),
];
