//! SQLite, forgetting: what is over is deleted after its keeping time, a slice at a time.

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::{Retention, columns::nanos};

/// Rows of one slice: a commit waits for a few milliseconds at most.
const SLICE_ROWS: i64 = 1_000;

/// Free pages that are kept for what comes next; those beyond go back to the disk, so many at a time.
const FREE_PAGES_KEPT: i64 = 1_000;

/// One kind of rows: what is over and was so for long. In each table whose numbers are never used twice,
/// the row of the highest number stays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    sql: &'static str,
    keep: fn(&Retention) -> SignedDuration,
    rows_max: fn(&Retention) -> u64,
}

/// All kinds.
pub(super) const SLICES: [Slice; 10] = [
    // Numbered in the order of their commits, so the oldest have the lowest numbers.
    Slice {
        sql: "DELETE FROM decisions WHERE id IN (SELECT id FROM decisions ORDER BY id LIMIT ?2)
            AND (at < ?1 OR id <= (SELECT max(id) FROM decisions) - ?3)",
        keep: |it| it.history,
        rows_max: |it| it.decisions_max,
    },
    Slice {
        sql: "DELETE FROM flips WHERE id IN (SELECT id FROM flips ORDER BY id LIMIT ?2)
            AND (at < ?1 OR id <= (SELECT max(id) FROM flips) - ?3)",
        keep: |it| it.history,
        rows_max: |it| it.flips_max,
    },
    Slice {
        sql: "DELETE FROM beats WHERE id IN (SELECT id FROM beats ORDER BY id LIMIT ?2)
            AND (at < ?1 OR id <= (SELECT max(id) FROM beats) - ?3)",
        keep: |it| it.history,
        rows_max: |it| it.beats_max,
    },
    Slice {
        sql: "DELETE FROM deafness WHERE ?3 = ?3 AND (source, since) IN (
            SELECT source, since FROM deafness WHERE coalesce(until, since) < ?1 LIMIT ?2)",
        keep: |it| it.history,
        rows_max: unbounded,
    },
    Slice {
        sql: "DELETE FROM deliveries WHERE ?3 = ?3 AND id IN (SELECT id FROM deliveries
            WHERE state IN ('sent', 'failed', 'superseded', 'rehearsed') AND changed_at < ?1
                AND id < (SELECT max(id) FROM deliveries) LIMIT ?2)",
        keep: |it| it.deliveries,
        rows_max: unbounded,
    },
    Slice {
        sql: "DELETE FROM incidents WHERE ?3 = ?3 AND id IN (SELECT id FROM incidents
            WHERE resolved_at < ?1 AND id < (SELECT max(id) FROM incidents) LIMIT ?2)",
        keep: |it| it.incidents,
        rows_max: unbounded,
    },
    Slice {
        sql: "DELETE FROM messages WHERE ?3 = ?3 AND id IN (SELECT id FROM messages
            WHERE closed = 1 AND opened_at < ?1 AND id < (SELECT max(id) FROM messages)
                AND NOT EXISTS (SELECT 1 FROM json_each(messages.members) AS member
                    JOIN incidents ON incidents.id = member.value WHERE resolved_at IS NULL)
            LIMIT ?2)",
        keep: |it| it.deliveries,
        rows_max: unbounded,
    },
    Slice {
        sql: "DELETE FROM message_references WHERE ?1 = ?1 AND ?3 = ?3 AND message IN (
            SELECT message FROM message_references WHERE message < (SELECT max(id) FROM messages)
                AND message NOT IN (SELECT id FROM messages) LIMIT ?2)",
        keep: |it| it.deliveries,
        rows_max: unbounded,
    },
    Slice {
        sql: "DELETE FROM silences WHERE ?3 = ?3 AND id IN (SELECT id FROM silences
            WHERE ended_at < ?1 AND id < (SELECT max(id) FROM silences) LIMIT ?2)",
        keep: |it| it.deliveries,
        rows_max: unbounded,
    },
    Slice {
        sql: "DELETE FROM facts WHERE ?3 = ?3 AND watch IN (SELECT watch FROM facts
            WHERE removed_at < ?1 LIMIT ?2)",
        keep: |it| it.removed_facts,
        rows_max: unbounded,
    },
];

fn unbounded(_: &Retention) -> u64 {
    u64::MAX
}

impl Slice {
    /// Deletes one slice; returns the rows deleted, 0 when all is done.
    pub(super) fn run(
        self,
        connection: &Connection,
        retention: &Retention,
        now: Timestamp,
    ) -> rusqlite::Result<usize> {
        let before = now.checked_sub((self.keep)(retention)).unwrap_or(Timestamp::MIN);
        let rows_max = i64::try_from((self.rows_max)(retention)).unwrap_or(i64::MAX);
        connection.prepare_cached(self.sql)?.execute([nanos(before), SLICE_ROWS, rows_max])
    }
}

/// Gives one slice of free pages back to the disk; whether more are to be given.
pub(super) fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let free = || -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
    };
    let before = free()?;
    if before <= FREE_PAGES_KEPT {
        return Ok(false);
    }
    let pages = (before - FREE_PAGES_KEPT).min(SLICE_ROWS);
    connection.execute_batch(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let after = free()?;
    Ok(FREE_PAGES_KEPT < after && after < before)
}
