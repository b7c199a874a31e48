//! The counts of a run, and the equations that must hold between them at its end (design.md §4).

use serde::{Deserialize, Serialize};

/// What one run read, asked and got.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(default)]
pub struct Tally {
    pub rows_read: u64,
    pub unchanged: u64,
    /// Rows that are to be upserted, whatever came of it.
    pub upserts: u64,
    pub invalid: u64,
    pub waived: u64,
    /// Entries that are to be deleted, whatever came of it.
    pub deletes: u64,

    pub delivered: u64,
    pub rejected: u64,
    pub unknown: u64,
    pub held: u64,
    pub deferred: u64,
    pub unsent: u64,

    /// Of `delivered`, those that were deletes.
    pub deleted: u64,
    pub requests: u64,
    /// Requests beyond the first of each batch.
    pub retries: u64,

    pub listing: ListingCost,
}

/// What it cost to find out which files, objects and versions there are, at the beginning of a read and at its end.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(default)]
pub struct ListingCost {
    /// Files and objects that were seen, those of a list that fit no table among them, and data files that the log of a Delta
    /// table names; each as often as it was seen.
    pub objects: u64,
    /// Requests to stores, tries included: lists, looks at one object, and the log of a Delta table.
    pub requests: u64,
    pub milliseconds: u64,
}

impl Tally {
    /// Both equations; an error names the one that does not hold.
    ///
    /// # Errors
    /// The counts contradict each other: a defect, never the user's fault.
    pub fn check(&self) -> Result<(), String> {
        let rows = self.unchanged + self.upserts + self.invalid + self.waived;
        if self.rows_read != rows {
            return Err(format!(
                "rows read {} differ from unchanged {} + upserts {} + invalid {} + waived {}",
                self.rows_read, self.unchanged, self.upserts, self.invalid, self.waived
            ));
        }
        let ended =
            self.delivered + self.rejected + self.unknown + self.held + self.deferred + self.unsent;
        if self.upserts + self.deletes != ended {
            return Err(format!(
                "operations {} + {} differ from delivered {} + rejected {} + unknown {} + held {} + deferred {} + unsent {}",
                self.upserts,
                self.deletes,
                self.delivered,
                self.rejected,
                self.unknown,
                self.held,
                self.deferred,
                self.unsent
            ));
        }
        Ok(())
    }

    /// What the destination has not taken and not refused either: it was not sent, or got no answer.
    pub fn undelivered(&self) -> u64 {
        self.unknown + self.unsent
    }

    /// Records that the destination rejected, in this run or before it, and that stand so.
    pub fn standing_rejections(&self) -> u64 {
        self.rejected + self.deferred
    }

    /// Everything that was asked was delivered, and every row was valid.
    pub fn is_clean(&self) -> bool {
        self.rejected == 0
            && self.unknown == 0
            && self.held == 0
            && self.deferred == 0
            && self.unsent == 0
            && self.invalid == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_equation_is_checked() {
        let good = Tally {
            rows_read: 5,
            unchanged: 2,
            upserts: 2,
            invalid: 1,
            deletes: 1,
            delivered: 2,
            held: 1,
            ..Tally::default()
        };
        assert_eq!(good.check(), Ok(()));
        assert!(!good.is_clean());
        assert!(Tally { rows_read: 6, ..good }.check().is_err());
        assert!(Tally { delivered: 3, ..good }.check().is_err());
        assert!(Tally::default().is_clean());
    }

    #[test]
    fn a_tally_of_before_listing_was_counted_is_read() {
        let old = r#"{"rows_read":3,"unchanged":3,"requests":1,"retries":0}"#;
        let tally: Tally = serde_json::from_str(old).unwrap();
        assert_eq!((tally.rows_read, tally.listing), (3, ListingCost::default()));
        let listing = ListingCost { objects: 7, requests: 2, milliseconds: 40 };
        let said = serde_json::to_value(Tally { listing, ..tally }).unwrap();
        let expected = serde_json::json!({"objects": 7, "requests": 2, "milliseconds": 40});
        assert_eq!(said["listing"], expected);
        assert_eq!(serde_json::from_value::<Tally>(said).unwrap().listing, listing);
    }
}
