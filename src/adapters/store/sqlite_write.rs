//! SQLite, writing: one transaction of many commits, each in a savepoint of its own.

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, ErrorCode, TransactionBehavior, params};

use super::{
    ROW_BYTES_MAX,
    columns::{OUR_OWN_CLOCK, nanos, verdict_word},
    fence::{Fences, Pass},
    rows::{self, Stored, json},
};
use crate::{
    domain::{
        alert::group::Group,
        decision::Decision,
        delivery::Delivery,
        history::{BeatRecord, Deafness, Entry},
        id::IncidentId,
        incident::Incident,
        silence::Silence,
        text::Text,
        write::{Facts, FlipRecord, Outcome, Write},
    },
    ports::{
        fail_points::{Point, reached},
        store::{Commit, Refused},
    },
};

/// Facts and history are flushed often and are at most 10 s old after a crash anyway; all else is on the
/// disk when the commit returns.
fn may_lag(commits: &[Commit]) -> bool {
    let lags = |it: &Write| matches!(it, Write::Facts(_) | Write::History(_));
    commits.iter().flat_map(|it| &it.writes).all(lags)
}

/// Applies `commits` in order, all in one transaction; a refused one leaves no trace.
pub(super) fn commit(
    connection: &mut Connection,
    fences: &mut Fences,
    commits: &[Commit],
    at: Timestamp,
) -> rusqlite::Result<Vec<Result<(), Refused>>> {
    let synchronous = if may_lag(commits) { "NORMAL" } else { "FULL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(commits.len());
    for commit in commits {
        results.push(match fences.pass(commit) {
            Ok(Pass::Apply) => apply_all(&transaction, &commit.writes)?,
            Ok(Pass::Stands) => Ok(()),
            Err(refused) => Err(refused),
        });
    }
    cached(
        &transaction,
        "INSERT INTO life (one, at) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET at = excluded.at",
    )?
    .execute([nanos(at)])?;
    reached(Point::TransactionOpen);
    transaction.commit()?;
    reached(Point::TransactionDone);
    for (commit, result) in commits.iter().zip(&results) {
        if result.is_ok() {
            fences.stands(commit);
        }
    }
    Ok(results)
}

fn apply_all(connection: &Connection, writes: &[Write]) -> rusqlite::Result<Result<(), Refused>> {
    cached(connection, "SAVEPOINT one")?.execute([])?;
    let applied = writes.iter().try_for_each(|write| apply(connection, write));
    let result = match applied {
        Ok(()) => Ok(()),
        Err(error) if is_about_the_row(&error) => {
            cached(connection, "ROLLBACK TO one")?.execute([])?;
            Err(Refused::Row(error.to_string()))
        }
        Err(error) => return Err(error),
    };
    cached(connection, "RELEASE one")?.execute([])?;
    Ok(result)
}

fn is_about_the_row(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig)
        )
}

fn apply(connection: &Connection, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Facts(it) => facts(connection, it),
        Write::History(it) => match &**it {
            Entry::Beat(it) => beat(connection, it),
            Entry::Deafness(it) => deafness(connection, it),
        },
        Write::Flip(it) => flip(connection, it),
        Write::Incident(it) => incident(connection, it),
        Write::Decision(it) => decision(connection, it),
        Write::Delivery(it) => delivery(connection, it),
        Write::Outcome(it) => outcome(connection, it),
        Write::Group(it) => group(connection, it),
        Write::Reference { group, reference } => {
            let sql = "INSERT INTO message_references (message, reference) VALUES (?1, ?2)
                ON CONFLICT (message) DO UPDATE SET reference = excluded.reference";
            run(cached(connection, sql)?.execute(params![group.0.cast_signed(), reference]))
        }
        Write::SetAside { incident } => set_aside(connection, *incident),
        Write::Silence(it) => silence(connection, it),
        Write::SilenceEnded { id, at } => {
            let sql = "UPDATE silences SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL";
            run(cached(connection, sql)?.execute([id.cast_signed(), nanos(*at)]))
        }
        Write::Meta { key, value } => {
            let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
                ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            run(cached(connection, sql)?.execute([key, bounded(value)?]))
        }
    }
}

fn facts(connection: &Connection, facts: &Facts) -> rusqlite::Result<()> {
    let Facts { watch, epoch, n, state, self_registered, removed_at } = facts;
    let sql = "INSERT INTO facts (watch, epoch, n, removed_at, self_registered, state)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (watch) DO UPDATE SET epoch = excluded.epoch,
            n = CASE WHEN epoch = excluded.epoch THEN max(n, excluded.n) ELSE excluded.n END,
            removed_at = CASE WHEN epoch = excluded.epoch
                THEN coalesce(excluded.removed_at, removed_at) ELSE excluded.removed_at END,
            self_registered = excluded.self_registered, state = excluded.state";
    run(cached(connection, sql)?.execute(params![
        watch.to_string(),
        epoch.cast_signed(),
        n.cast_signed(),
        removed_at.map(nanos),
        self_registered,
        written(rows::state_json(state))?,
    ]))
}

fn beat(connection: &Connection, record: &BeatRecord) -> rusqlite::Result<()> {
    let sql = "INSERT INTO beats (watch, at, detail) SELECT ?1, ?2, ?3 WHERE NOT EXISTS
        (SELECT 1 FROM beats WHERE watch = ?1 AND at = ?2 AND detail = ?3)";
    run(cached(connection, sql)?.execute(params![
        record.watch.to_string(),
        nanos(record.beat.at),
        detail(&record.beat)?,
    ]))
}

fn deafness(connection: &Connection, deafness: &Deafness) -> rusqlite::Result<()> {
    let Deafness { source, since, until } = deafness;
    let sql = "INSERT INTO deafness (source, since, until) VALUES (?1, ?2, ?3)
        ON CONFLICT (source, since) DO UPDATE SET until = excluded.until";
    let source = source.as_deref().unwrap_or(OUR_OWN_CLOCK);
    run(cached(connection, sql)?.execute(params![source, nanos(*since), until.map(nanos)]))
}

/// A flip that is there already (its commit was tried again) is left as it is.
fn flip(connection: &Connection, flip: &FlipRecord) -> rusqlite::Result<()> {
    let FlipRecord { watch, epoch, n, from, to, at, noticed_at } = flip;
    let sql = "INSERT INTO flips (watch, at, epoch, n, verdict_before, verdict, noticed_at)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS
            (SELECT 1 FROM flips WHERE watch = ?1 AND at = ?2 AND epoch = ?3 AND n = ?4)";
    run(cached(connection, sql)?.execute(params![
        watch.to_string(),
        nanos(*at),
        epoch.cast_signed(),
        n.cast_signed(),
        verdict_word(*from),
        verdict_word(*to),
        nanos(*noticed_at),
    ]))
}

fn incident(connection: &Connection, incident: &Incident) -> rusqlite::Result<()> {
    let sql = "INSERT INTO incidents (id, watch, condition, resolved_at, detail)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (id) DO UPDATE SET watch = excluded.watch, condition = excluded.condition,
            resolved_at = excluded.resolved_at, detail = excluded.detail";
    run(cached(connection, sql)?.execute(params![
        incident.id.0.cast_signed(),
        incident.watch.to_string(),
        incident.condition.word(),
        incident.resolved.as_ref().map(|(at, _)| nanos(*at)),
        detail(incident)?,
    ]))
}

fn decision(connection: &Connection, decision: &Decision) -> rusqlite::Result<()> {
    let Decision { at, watch, incident, stage, outcome, rule, origin, receiver } = decision;
    let sql = "INSERT INTO decisions (at, watch, incident, stage, outcome, rule, origin, receiver)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    run(cached(connection, sql)?.execute(params![
        nanos(*at),
        watch.to_string(),
        incident.map(|it| it.0.cast_signed()),
        stage.word(),
        outcome.as_str(),
        rule.as_str(),
        detail(origin)?,
        receiver.as_ref().map(|it| &*it.0),
    ]))
}

fn delivery(connection: &Connection, delivery: &Delivery) -> rusqlite::Result<()> {
    let Delivery {
        id,
        key,
        receiver,
        group,
        incidents,
        condition,
        severity,
        revision,
        body,
        created_at,
        state,
        attempts,
        next_at,
        deadline,
        error,
        reference,
        failed_over,
    } = delivery;
    let sql = "INSERT INTO deliveries (id, key, receiver, message, incidents, condition, severity,
            revision, body, created_at, state, attempts, next_at, deadline, error, reference,
            failed_over, changed_at)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?10
        WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE key = ?2)";
    let inserted = cached(connection, sql)?.execute(params![
        id.0.cast_signed(),
        key,
        &*receiver.0,
        group.map(|it| it.0.cast_signed()),
        detail(incidents)?,
        condition.word(),
        severity.word(),
        revision,
        detail(body)?,
        nanos(*created_at),
        state.word(),
        attempts,
        nanos(*next_at),
        nanos(*deadline),
        error.as_ref().map(Text::as_str),
        reference,
        failed_over,
    ])?;
    if inserted == 0 {
        return Ok(());
    }
    let mut told =
        cached(connection, "INSERT OR IGNORE INTO told (incident, delivery) VALUES (?1, ?2)")?;
    for incident in incidents {
        told.execute([incident.0.cast_signed(), id.0.cast_signed()])?;
    }
    Ok(())
}

fn outcome(connection: &Connection, outcome: &Outcome) -> rusqlite::Result<()> {
    let Outcome { delivery, state, attempts, next_at, at, error, reference, failed_over } = outcome;
    let sql = "UPDATE deliveries SET state = ?2, attempts = ?3, next_at = ?4, changed_at = ?5,
        error = ?6, reference = ?7, failed_over = ?8 WHERE id = ?1";
    run(cached(connection, sql)?.execute(params![
        delivery.0.cast_signed(),
        state.word(),
        attempts,
        nanos(*next_at),
        nanos(*at),
        error.as_ref().map(Text::as_str),
        reference,
        failed_over,
    ]))
}

fn group(connection: &Connection, group: &Group) -> rusqlite::Result<()> {
    let sql = "INSERT INTO messages (id, opened_at, closed, members, detail)
        VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (id) DO UPDATE SET opened_at = excluded.opened_at, closed = excluded.closed,
            members = excluded.members, detail = excluded.detail";
    run(cached(connection, sql)?.execute(params![
        group.id.0.cast_signed(),
        nanos(group.opened_at),
        group.closed,
        detail(&group.members)?,
        detail(group)?,
    ]))
}

fn silence(connection: &Connection, silence: &Silence) -> rusqlite::Result<()> {
    let sql = "INSERT INTO silences (id, detail) VALUES (?1, ?2)
        ON CONFLICT (id) DO UPDATE SET detail = excluded.detail";
    run(cached(connection, sql)?.execute(params![silence.id.cast_signed(), detail(silence)?]))
}

/// Marks an incident's row: kept, no longer loaded.
pub(super) fn set_aside(connection: &Connection, incident: IncidentId) -> rusqlite::Result<()> {
    run(cached(connection, "UPDATE incidents SET set_aside = 1 WHERE id = ?1")?
        .execute([incident.0.cast_signed()]))
}

/// Marks a delivery's row that cannot be read: kept, no longer owed.
pub(super) fn give_up(connection: &Connection, delivery: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE deliveries SET state = 'failed', error = 'the row could not be read'
        WHERE id = ?1";
    run(cached(connection, sql)?.execute([delivery]))
}

fn cached<'a>(connection: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    connection.prepare_cached(sql)
}

fn run(rows: rusqlite::Result<usize>) -> rusqlite::Result<()> {
    rows.map(drop)
}

fn detail<T: Stored>(value: &T) -> rusqlite::Result<String> {
    written(json(value))
}

fn written(json: serde_json::Result<String>) -> rusqlite::Result<String> {
    let text = json.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    bounded(&text)?;
    Ok(text)
}

fn bounded(text: &String) -> rusqlite::Result<&String> {
    if ROW_BYTES_MAX < text.len() {
        let words = format!("the row has {} bytes, {ROW_BYTES_MAX} at most", text.len());
        return Err(rusqlite::Error::ToSqlConversionFailure(words.into()));
    }
    Ok(text)
}
