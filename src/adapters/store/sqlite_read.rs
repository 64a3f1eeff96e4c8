//! SQLite, reading: rows back to the domain's values. A row that cannot be read is named and passed over.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{
    Connection, OptionalExtension, Params, Row, params, params_from_iter,
    types::{FromSql, Value},
};

use super::{
    REFERENCES_MAX,
    columns::{self, Garbled, OUR_OWN_CLOCK, moment, nanos},
    rows::{self, Stored, from_json},
};
use crate::{
    domain::{
        alert::group::Group,
        decision::{Decision, Stage},
        delivery::{Delivery, State},
        desk::Restored,
        history::{BeatRecord, Deafness, History, KEPT_SINCE},
        id::{DeliveryId, GroupId, IncidentId, ReceiverId, WatchId},
        incident::{Incident, Severity},
        silence::Silence,
        watch::Condition,
        write::{Facts, FlipRecord},
    },
    ports::store::{IncidentFilter, Opened},
};

/// A row that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Its number, where it has one.
    pub(super) id: i64,
    /// `incident 412: unknown condition "merry"`.
    pub(super) name: String,
}

/// What was read, and what could not be.
pub(super) type Listed<T> = (Vec<T>, Vec<Unreadable>);

pub(super) fn opened(connection: &Connection) -> rusqlite::Result<Opened> {
    let life_stamp: Option<i64> =
        connection.query_row("SELECT at FROM life", [], |row| row.get(0)).optional()?;
    let sql =
        "SELECT watch, epoch, n, state, removed_at, self_registered FROM facts ORDER BY watch";
    let (facts, unreadable) = list(connection, "facts of", sql, [], facts)?;
    let newest =
        "SELECT max(epoch) FROM (SELECT epoch FROM facts UNION ALL SELECT epoch FROM flips)";
    let last_epoch: Option<i64> = connection.query_row(newest, [], |row| row.get(0))?;
    Ok(Opened {
        life_stamp: life_stamp.map(moment),
        last_epoch: last_epoch.unwrap_or(0).cast_unsigned(),
        facts,
        unreadable: unreadable.into_iter().map(|it| it.name).collect(),
    })
}

/// What a desk is restored from, the incidents that cannot be read, and the names of all such rows.
pub(super) fn desk(
    connection: &Connection,
    reopen_after: Timestamp,
) -> rusqlite::Result<(Restored, Vec<Unreadable>, Vec<String>)> {
    let after = [nanos(reopen_after)];
    let (incidents, set_aside) = list(
        connection,
        "incident",
        "SELECT id, detail FROM incidents
            WHERE set_aside = 0 AND (resolved_at IS NULL OR ?1 <= resolved_at) ORDER BY id",
        after,
        detail::<Incident>,
    )?;
    // A closed group still has the message that its members' recovery edits.
    let (groups, bad_groups) = list(
        connection,
        "group",
        "SELECT id, detail FROM messages WHERE closed = 0 OR EXISTS (
            SELECT 1 FROM json_each(messages.members) AS member
                JOIN incidents ON incidents.id = member.value
                WHERE set_aside = 0 AND (resolved_at IS NULL OR ?1 <= resolved_at)) ORDER BY id",
        after,
        detail::<Group>,
    )?;
    let (silences, bad_silences) = list(
        connection,
        "silence",
        "SELECT id, detail FROM silences WHERE ended_at IS NULL ORDER BY id",
        [],
        detail::<Silence>,
    )?;
    let (seen, bad_seen) = seen(connection)?;
    let names = [&set_aside, &bad_groups, &bad_silences, &bad_seen]
        .into_iter()
        .flatten()
        .map(|it| it.name.clone())
        .collect();
    let restored = Restored {
        incidents,
        groups,
        silences,
        seen: seen.into_iter().collect(),
        last_incident: last(connection, "SELECT max(id) FROM incidents")?,
        last_group: last(connection, "SELECT max(id) FROM messages")?,
        last_delivery: last(connection, "SELECT max(id) FROM deliveries")?,
        last_silence: last(connection, "SELECT max(id) FROM silences")?,
    };
    Ok((restored, set_aside, names))
}

/// The newest flip of each watch; where history has let go of it, what the facts remember.
fn seen(connection: &Connection) -> rusqlite::Result<Listed<(WatchId, (u64, u64))>> {
    list(
        connection,
        "numbers of",
        "SELECT watch, epoch, n FROM flips WHERE id IN (SELECT max(id) FROM flips GROUP BY watch)
         UNION ALL
         SELECT watch, epoch, n FROM facts
            WHERE NOT EXISTS (SELECT 1 FROM flips WHERE flips.watch = facts.watch)",
        [],
        |row| Ok((watch(row, 0)?, (number(row, 1)?, number(row, 2)?))),
    )
}

pub(super) fn owed(
    connection: &Connection,
    receiver: Option<&ReceiverId>,
    limit: usize,
) -> rusqlite::Result<Listed<Delivery>> {
    let sql = delivery_sql(
        "WHERE state IN ('pending', 'sending') AND (?1 IS NULL OR receiver = ?1)
            ORDER BY id LIMIT ?2",
    );
    let receiver = receiver.map(|it| &*it.0);
    list(connection, "delivery", &sql, params![receiver, bound(limit)], delivery)
}

pub(super) fn delivery_by_id(
    connection: &Connection,
    id: DeliveryId,
) -> rusqlite::Result<Listed<Delivery>> {
    list(connection, "delivery", &delivery_sql("WHERE id = ?1"), [id.0.cast_signed()], delivery)
}

pub(super) fn deliveries_of(
    connection: &Connection,
    incident: IncidentId,
) -> rusqlite::Result<Listed<(Delivery, Timestamp)>> {
    let sql =
        delivery_sql("WHERE id IN (SELECT delivery FROM told WHERE incident = ?1) ORDER BY id");
    let read = |row: &Row<'_>| Ok((delivery(row)?, moment(column(row, 17)?)));
    list(connection, "delivery", &sql, [incident.0.cast_signed()], read)
}

pub(super) fn rehearsed(
    connection: &Connection,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<Listed<Delivery>> {
    let sql = delivery_sql(
        "WHERE id IN (SELECT id FROM deliveries WHERE state = 'rehearsed' AND ?1 <= changed_at
            ORDER BY changed_at DESC LIMIT ?2) ORDER BY id",
    );
    list(connection, "delivery", &sql, params![nanos(since), bound(limit)], delivery)
}

pub(super) fn references(connection: &Connection) -> rusqlite::Result<Vec<(GroupId, String)>> {
    let mut statement = connection.prepare_cached(
        "SELECT message, reference FROM message_references ORDER BY message DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([bound(REFERENCES_MAX)], |row| {
        Ok((GroupId(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?))
    })?;
    rows.collect()
}

pub(super) fn incidents(
    connection: &Connection,
    filter: &IncidentFilter,
) -> rusqlite::Result<Listed<Incident>> {
    let mut sql = String::from("SELECT id, detail FROM incidents WHERE set_aside = 0");
    let mut values: Vec<Value> = Vec::new();
    if !filter.all {
        sql.push_str(" AND resolved_at IS NULL");
    }
    if let Some(watch) = &filter.watch {
        sql.push_str(" AND watch = ?");
        values.push(watch.to_string().into());
    }
    if let Some(id) = filter.id {
        sql.push_str(" AND id = ?");
        values.push(id.0.cast_signed().into());
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(bound(filter.limit).into());
    list(connection, "incident", &sql, params_from_iter(values), detail::<Incident>)
}

pub(super) fn decisions(
    connection: &Connection,
    watch: &WatchId,
    incident: Option<IncidentId>,
    limit: usize,
) -> rusqlite::Result<Listed<Decision>> {
    let sql =
        "SELECT id, at, watch, incident, stage, outcome, rule, origin, receiver FROM decisions
        WHERE watch = ?1 AND (?2 IS NULL OR incident = ?2) ORDER BY at DESC, id DESC LIMIT ?3";
    let incident = incident.map(|it| it.0.cast_signed());
    let (mut found, unreadable) = list(
        connection,
        "decision",
        sql,
        params![watch.to_string(), incident, bound(limit)],
        decision,
    )?;
    found.reverse();
    Ok((found, unreadable))
}

pub(super) fn flips(
    connection: &Connection,
    watch: &WatchId,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<Listed<FlipRecord>> {
    let sql = "SELECT id, watch, epoch, n, verdict_before, verdict, at, noticed_at FROM flips
        WHERE watch = ?1 AND ?2 <= at ORDER BY at DESC, id DESC LIMIT ?3";
    let (mut found, unreadable) = list(
        connection,
        "flip",
        sql,
        params![watch.to_string(), nanos(since), bound(limit)],
        flip,
    )?;
    found.reverse();
    Ok((found, unreadable))
}

/// All that is known of the time since then; of the beats, at most `beats_max` are kept.
pub(super) fn history(
    connection: &Connection,
    since: Timestamp,
    beats_max: u64,
) -> rusqlite::Result<(History, Vec<Unreadable>)> {
    let after = [nanos(since)];
    let sql = "SELECT id, watch, detail FROM beats WHERE ?1 <= at OR id IN
            (SELECT max(id) FROM beats WHERE at < ?1 GROUP BY watch) ORDER BY at, id";
    let (beats, bad_beats) = list(connection, "beat", sql, after, beat)?;
    let sql = "SELECT source, since, until FROM deafness WHERE until IS NULL OR ?1 <= until
        ORDER BY since";
    let (deafness, bad_deafness) = list(connection, "deafness of", sql, after, deafness)?;
    let sql = "SELECT id, watch, epoch, n, verdict_before, verdict, at, noticed_at FROM flips
        WHERE ?1 <= at ORDER BY at, id";
    let (flips, bad_flips) = list(connection, "flip", sql, after, flip)?;
    let sql = "SELECT id, detail, ended_at FROM silences
        WHERE ended_at IS NULL OR ?1 <= ended_at ORDER BY id";
    let (silences, bad_silences) = list(connection, "silence", sql, after, |row| {
        Ok((detail(row)?, column::<Option<i64>>(row, 2)?.map(moment)))
    })?;
    let opened = opened(connection)?;
    let until = opened.life_stamp.unwrap_or(since);
    let kept_since = meta(connection, KEPT_SINCE)?.and_then(|it| it.parse().ok()).unwrap_or(until);
    let oldest = "SELECT min(at) FROM beats
        HAVING ?1 <= max(id) - min(id) + 1";
    let oldest: Option<i64> = connection
        .query_row(oldest, [i64::try_from(beats_max).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?
        .flatten();
    let since = since.max(kept_since).max(oldest.map_or(Timestamp::MIN, moment));
    let unreadable = [bad_beats, bad_deafness, bad_flips, bad_silences];
    Ok((
        History { since, until, beats, deafness, flips, facts: opened.facts, silences },
        unreadable.into_iter().flatten().collect(),
    ))
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
}

/// Reads every row that can be read. The first column names the row.
fn list<T>(
    connection: &Connection,
    what: &str,
    sql: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Garbled>,
) -> rusqlite::Result<Listed<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(value) => found.push(value),
            Err(Garbled(why)) => {
                let id: i64 = row.get(0).unwrap_or_default();
                let name = row.get(0).unwrap_or_else(|_| id.to_string());
                unreadable.push(Unreadable { id, name: format!("{what} {name}: {why}") });
            }
        }
    }
    Ok((found, unreadable))
}

fn detail<T: Stored>(row: &Row<'_>) -> Result<T, Garbled> {
    from_json(&column::<String>(row, 1)?)
}

fn facts(row: &Row<'_>) -> Result<Facts, Garbled> {
    let watch = watch(row, 0)?;
    Ok(Facts {
        state: Arc::new(rows::state(watch.kind, &column::<String>(row, 3)?)?),
        watch,
        epoch: number(row, 1)?,
        n: number(row, 2)?,
        self_registered: column(row, 5)?,
        removed_at: column::<Option<i64>>(row, 4)?.map(moment),
    })
}

fn flip(row: &Row<'_>) -> Result<FlipRecord, Garbled> {
    Ok(FlipRecord {
        watch: watch(row, 1)?,
        epoch: number(row, 2)?,
        n: number(row, 3)?,
        from: columns::verdict(&column::<String>(row, 4)?)?,
        to: columns::verdict(&column::<String>(row, 5)?)?,
        at: moment(column(row, 6)?),
        noticed_at: moment(column(row, 7)?),
    })
}

fn beat(row: &Row<'_>) -> Result<BeatRecord, Garbled> {
    Ok(BeatRecord { watch: watch(row, 1)?, beat: from_json(&column::<String>(row, 2)?)? })
}

fn deafness(row: &Row<'_>) -> Result<Deafness, Garbled> {
    let source: String = column(row, 0)?;
    Ok(Deafness {
        source: Some(Arc::from(source)).filter(|it| **it != *OUR_OWN_CLOCK),
        since: moment(column(row, 1)?),
        until: column::<Option<i64>>(row, 2)?.map(moment),
    })
}

fn decision(row: &Row<'_>) -> Result<Decision, Garbled> {
    Ok(Decision {
        at: moment(column(row, 1)?),
        watch: watch(row, 2)?,
        incident: column::<Option<i64>>(row, 3)?.map(|it| IncidentId(it.cast_unsigned())),
        stage: word(row, 4, Stage::from_word)?,
        outcome: columns::text(&column::<String>(row, 5)?),
        rule: columns::text(&column::<String>(row, 6)?),
        origin: from_json(&column::<String>(row, 7)?)?,
        receiver: column::<Option<String>>(row, 8)?.map(|it| ReceiverId::new(&it)),
    })
}

/// The columns in the order in which [`delivery`] reads them.
fn delivery_sql(rest: &str) -> String {
    format!(
        "SELECT id, key, receiver, message, incidents, condition, severity, revision, body, created_at,
            state, attempts, next_at, deadline, error, reference, failed_over, changed_at
            FROM deliveries {rest}"
    )
}

fn delivery(row: &Row<'_>) -> Result<Delivery, Garbled> {
    Ok(Delivery {
        id: DeliveryId(number(row, 0)?),
        key: column(row, 1)?,
        receiver: ReceiverId::new(&column::<String>(row, 2)?),
        group: column::<Option<i64>>(row, 3)?.map(|it| GroupId(it.cast_unsigned())),
        incidents: from_json(&column::<String>(row, 4)?)?,
        condition: word(row, 5, Condition::from_word)?,
        severity: word(row, 6, Severity::from_word)?,
        revision: column(row, 7)?,
        body: from_json(&column::<String>(row, 8)?)?,
        created_at: moment(column(row, 9)?),
        state: word(row, 10, State::from_word)?,
        attempts: column(row, 11)?,
        next_at: moment(column(row, 12)?),
        deadline: moment(column(row, 13)?),
        error: column::<Option<String>>(row, 14)?.map(|it| columns::text(&it)),
        reference: column(row, 15)?,
        failed_over: column(row, 16)?,
    })
}

fn column<T: FromSql>(row: &Row<'_>, place: usize) -> Result<T, Garbled> {
    row.get(place).map_err(|error| Garbled(error.to_string()))
}

/// A number of 64 bits, kept in SQLite's signed integers.
fn number(row: &Row<'_>, place: usize) -> Result<u64, Garbled> {
    column::<i64>(row, place).map(i64::cast_unsigned)
}

fn watch(row: &Row<'_>, place: usize) -> Result<WatchId, Garbled> {
    columns::watch(&column::<String>(row, place)?)
}

fn word<T>(row: &Row<'_>, place: usize, read: fn(&str) -> Option<T>) -> Result<T, Garbled> {
    let word: String = column(row, place)?;
    read(&word).ok_or_else(|| Garbled(format!("unknown word {word:?}")))
}

fn last(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    let last: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
