//! SQLite: the embedded default. One connection writes, two read; all work runs on tokio's blocking threads.
//!
//! ```text
//!  caller ──waits its turn──▶ connection ──Ok, full, locked──▶ kept for the next
//!                                 └──other fault, panic──▶ dropped: opened anew by the next caller
//! ```
//!
//! So a fault that has passed (a disk with room again, a lock let go) needs no restart, and a caller that
//! went away before its turn leaves nothing behind its successor's back.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::spawn_blocking,
};
use tracing::warn;

use super::{
    Retention,
    fence::Fences,
    sqlite_file::{self, Trouble, told},
    sqlite_prune::{self, SLICES},
    sqlite_read::{self, Listed},
    sqlite_write,
};
use crate::{
    domain::{
        decision::Decision,
        delivery::Delivery,
        desk,
        history::History,
        id::{DeliveryId, GroupId, IncidentId, ReceiverId, WatchId},
        incident::Incident,
        write::FlipRecord,
    },
    ports::{
        Pending,
        store::{Commit, Fault, IncidentFilter, Opened, Refused, Size, Store, StoreError},
    },
};

/// The store in one SQLite file, with its log (`-wal`) beside it.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    retention: Retention,
    writer: Arc<Mutex<Writer>>,
    readers: [Arc<Mutex<Option<Connection>>>; 2],
}

#[derive(Debug, Default)]
struct Writer {
    connection: Option<Connection>,
    fences: Fences,
    /// The file was read through and found whole.
    checked: bool,
    /// Which file was opened first: another one in its place knows nothing of what is open.
    opened: Option<(u64, u64)>,
}

/// The last `length` of what a store's file knows, read beside the process that may be writing it.
///
/// # Errors
/// When the file is missing, is not ours, or is of an older or newer atalaya.
pub fn read_history(path: &Path, length: SignedDuration) -> Result<History, StoreError> {
    let beats_max = Retention::default().beats_max;
    let read = || -> Result<History, Trouble> {
        let connection = sqlite_file::open_foreign_reader(path)?;
        let newest = sqlite_read::opened(&connection)?.life_stamp.unwrap_or(Timestamp::MIN);
        let since = newest.checked_sub(length).unwrap_or(Timestamp::MIN);
        Ok(sqlite_read::history(&connection, since, beats_max)?.0)
    };
    read().map_err(|trouble| told("read the history", trouble, path))
}

type Done<T> = Result<T, StoreError>;

impl SqliteStore {
    /// A store in the file at `path`. Nothing is touched before the first call, which makes the file (mode
    /// 0600) and its folder where they are missing; a file that cannot be opened is told by that call, and
    /// tried again by the next.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_retention(path, Retention::default())
    }

    /// As [`SqliteStore::new`], with other keeping times.
    pub fn with_retention(path: impl Into<PathBuf>, retention: Retention) -> Self {
        Self {
            shared: Arc::new(Shared {
                path: path.into(),
                retention,
                writer: Arc::default(),
                readers: [Arc::default(), Arc::default()],
            }),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection, &mut Fences) -> Result<T, Trouble> + Send + 'static,
    ) -> Done<T> {
        let shared = Arc::clone(&self.shared);
        let writer = Arc::clone(&self.shared.writer).lock_owned().await;
        spawn_blocking(move || shared.write(writer, operation, work))
            .await
            .unwrap_or_else(|_| Err(told(operation, Trouble::CutOff, &self.shared.path)))
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Done<T> {
        let shared = Arc::clone(&self.shared);
        let [first, second] = &self.shared.readers;
        let reader = match Arc::clone(first).try_lock_owned() {
            Ok(reader) => reader,
            Err(_) => Arc::clone(second).lock_owned().await,
        };
        spawn_blocking(move || shared.read(reader, operation, work))
            .await
            .unwrap_or_else(|_| Err(told(operation, Trouble::CutOff, &self.shared.path)))
    }

    /// Reads a list; rows that cannot be read are logged and left out.
    async fn list<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<Listed<T>> + Send + 'static,
    ) -> Done<Vec<T>> {
        let (found, unreadable) = self.read(operation, work).await?;
        for row in unreadable {
            warn!(row = row.name, "a stored row could not be read");
        }
        Ok(found)
    }
}

impl Shared {
    fn write<T>(
        &self,
        mut writer: OwnedMutexGuard<Writer>,
        operation: &'static str,
        work: impl FnOnce(&mut Connection, &mut Fences) -> Result<T, Trouble>,
    ) -> Done<T> {
        let mut connection = self.take_writer(&mut writer, operation)?;
        match work(&mut connection, &mut writer.fences) {
            Ok(value) => {
                writer.connection = Some(connection);
                Ok(value)
            }
            Err(trouble) => {
                let error = told(operation, trouble, &self.path);
                if error.kind == Fault::Damaged {
                    // Whoever mends it puts another file there.
                    (writer.checked, writer.opened) = (false, None);
                }
                // A connection opened on a full disk finds no room for its log; the old one has it.
                let may_stay = matches!(error.kind, Fault::Full | Fault::Busy);
                writer.connection = Some(connection).filter(|it| may_stay && it.is_autocommit());
                Err(error)
            }
        }
    }

    fn take_writer(&self, writer: &mut Writer, operation: &'static str) -> Done<Connection> {
        let found = sqlite_file::identity(&self.path);
        // SQLite itself would go on to write where nobody finds it.
        if writer.opened.is_some() && writer.opened != found {
            return Err(told(operation, Trouble::Moved, &self.path));
        }
        if let Some(connection) = writer.connection.take() {
            return Ok(connection);
        }
        let connection = sqlite_file::open_writer(&self.path, !writer.checked)
            .map_err(|trouble| told(operation, trouble, &self.path))?;
        writer.checked = true;
        writer.opened = sqlite_file::identity(&self.path);
        Ok(connection)
    }

    fn read<T>(
        &self,
        mut reader: OwnedMutexGuard<Option<Connection>>,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Done<T> {
        let connection = match reader.take() {
            Some(connection) => connection,
            None => self.open_reader(operation)?,
        };
        let value = work(&connection).map_err(|error| told(operation, error.into(), &self.path))?;
        *reader = Some(connection);
        Ok(value)
    }

    /// The writer goes first: it makes the file and its tables.
    fn open_reader(&self, operation: &'static str) -> Done<Connection> {
        let mut writer = self.writer.blocking_lock();
        writer.connection = Some(self.take_writer(&mut writer, operation)?);
        drop(writer);
        sqlite_file::open_reader(&self.path).map_err(|trouble| told(operation, trouble, &self.path))
    }
}

impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn commit(
        &self,
        commits: Vec<Commit>,
        at: Timestamp,
    ) -> Pending<'_, Done<Vec<Result<(), Refused>>>> {
        Box::pin(self.write("commit", move |connection, fences| {
            Ok(sqlite_write::commit(connection, fences, &commits, at)?)
        }))
    }

    fn open(&self) -> Pending<'_, Done<Opened>> {
        Box::pin(self.read("open the store", sqlite_read::opened))
    }

    fn desk(&self, reopen_after: Timestamp) -> Pending<'_, Done<(desk::Restored, Vec<String>)>> {
        Box::pin(async move {
            // In turn with the commits: one that a dead caller left behind is in the book that is read.
            let (restored, set_aside, names) = self
                .write("read the incidents", move |connection, _| {
                    Ok(sqlite_read::desk(connection, reopen_after)?)
                })
                .await?;
            for row in set_aside {
                // Where that fails, the row is named again at the next start.
                let id = IncidentId(row.id.cast_unsigned());
                let aside = self.write("set an incident aside", move |connection, _| {
                    Ok(sqlite_write::set_aside(connection, id)?)
                });
                if let Err(error) = aside.await {
                    warn!(row = row.name, error = %error, "an unreadable row could not be set aside");
                }
            }
            Ok((restored, names))
        })
    }

    fn owed(&self, receiver: Option<ReceiverId>, limit: usize) -> Pending<'_, Done<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                let receiver = receiver.clone();
                let (found, unreadable) = self
                    .read("read what is owed", move |it| {
                        sqlite_read::owed(it, receiver.as_ref(), limit)
                    })
                    .await?;
                let is_done = !found.is_empty() || unreadable.is_empty();
                for row in unreadable {
                    warn!(row = row.name, "a delivery that cannot be read was given up");
                    self.write("give a delivery up", move |connection, _| {
                        Ok(sqlite_write::give_up(connection, row.id)?)
                    })
                    .await?;
                }
                if is_done {
                    return Ok(found);
                }
            }
        })
    }

    fn references(&self) -> Pending<'_, Done<Vec<(GroupId, String)>>> {
        Box::pin(self.read("read the references", sqlite_read::references))
    }

    fn delivery(&self, id: DeliveryId) -> Pending<'_, Done<Option<Delivery>>> {
        Box::pin(async move {
            let work = move |it: &Connection| sqlite_read::delivery_by_id(it, id);
            Ok(self.list("read a delivery", work).await?.pop())
        })
    }

    fn incidents(&self, filter: IncidentFilter) -> Pending<'_, Done<Vec<Incident>>> {
        Box::pin(self.list("read the incidents", move |it| sqlite_read::incidents(it, &filter)))
    }

    fn decisions(
        &self,
        watch: WatchId,
        incident: Option<IncidentId>,
        limit: usize,
    ) -> Pending<'_, Done<Vec<Decision>>> {
        Box::pin(self.list("read the decisions", move |it| {
            sqlite_read::decisions(it, &watch, incident, limit)
        }))
    }

    fn deliveries_of(&self, incident: IncidentId) -> Pending<'_, Done<Vec<(Delivery, Timestamp)>>> {
        Box::pin(
            self.list("read the deliveries", move |it| sqlite_read::deliveries_of(it, incident)),
        )
    }

    fn rehearsed(&self, since: Timestamp, limit: usize) -> Pending<'_, Done<Vec<Delivery>>> {
        Box::pin(self.list("read the rehearsed deliveries", move |it| {
            sqlite_read::rehearsed(it, since, limit)
        }))
    }

    fn flips(
        &self,
        watch: WatchId,
        since: Timestamp,
        limit: usize,
    ) -> Pending<'_, Done<Vec<FlipRecord>>> {
        Box::pin(
            self.list("read the flips", move |it| sqlite_read::flips(it, &watch, since, limit)),
        )
    }

    fn history(&self, since: Timestamp) -> Pending<'_, Done<History>> {
        let beats_max = self.shared.retention.beats_max;
        Box::pin(async move {
            let work = move |it: &Connection| sqlite_read::history(it, since, beats_max);
            let (history, unreadable) = self.read("read the history", work).await?;
            for row in unreadable {
                warn!(row = row.name, "a stored row could not be read");
            }
            Ok(history)
        })
    }

    fn meta(&self, key: &str) -> Pending<'_, Done<Option<String>>> {
        let key = key.to_owned();
        Box::pin(self.read("read a value", move |it| sqlite_read::meta(it, &key)))
    }

    fn size(&self) -> Pending<'_, Done<Size>> {
        let path = self.shared.path.clone();
        Box::pin(
            self.read("measure the store", move |_| Ok(Size { bytes: sqlite_file::bytes(&path) })),
        )
    }

    fn prune(&self, now: Timestamp) -> Pending<'_, Done<u64>> {
        Box::pin(async move {
            let retention = self.shared.retention;
            let mut deleted = 0;
            // The turn is given away after each slice: commits go between.
            for slice in SLICES {
                loop {
                    let rows = self
                        .write("prune the store", move |connection, _| {
                            Ok(slice.run(connection, &retention, now)?)
                        })
                        .await?;
                    if rows == 0 {
                        break;
                    }
                    deleted += rows as u64;
                }
            }
            while self
                .write("shrink the store", |connection, _| Ok(sqlite_prune::shrink(connection)?))
                .await?
            {}
            Ok(deleted)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

    use tokio::time::timeout;

    use super::*;
    use crate::{
        adapters::{
            clock::MachineClock,
            store::{
                contract::{self, Bench, commit, stand},
                contract_samples::{at, decision, delivery, facts, flip, incident, mary, message},
            },
        },
        domain::{delivery::Body, id::Kind, watch::Condition, write::Write},
        ports::{clock::Clock, store::SharedStore},
    };

    struct File(tempfile::TempDir);

    impl File {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("atalaya.db")
        }

        fn sql(&self, sql: &str) {
            Connection::open(self.path()).expect("opens").execute_batch(sql).expect("runs");
        }
    }

    impl Bench for File {
        fn store(&self) -> SharedStore {
            Arc::new(SqliteStore::with_retention(self.path(), contract::retention()))
        }

        fn restarted(&self) -> SharedStore {
            self.store()
        }

        fn garble(&self, incident: IncidentId) {
            self.sql(&format!(
                "UPDATE incidents SET detail = '{{\"id\":\"merry\"' WHERE id = {}",
                incident.0
            ));
        }
    }

    contract::keeps_the_contract!(File::new());

    fn meta(key: &str, value: &str) -> Write {
        Write::Meta { key: key.into(), value: value.into() }
    }

    async fn refused(store: &SqliteStore) -> StoreError {
        store.commit(vec![commit(vec![meta("k", "v")])], at(0)).await.expect_err("a fault")
    }

    fn told(error: &StoreError, kind: Fault, words: &[&str]) {
        let said = error.to_string();
        assert_eq!(error.kind, kind, "{error:?}");
        for word in words {
            assert!(said.contains(word), "{word:?} is missing in: {said}");
        }
    }

    #[tokio::test]
    async fn the_file_is_ours_alone_and_made_with_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("var/lib/atalaya.db");
        let store = SqliteStore::new(&path);
        assert!(!path.exists(), "nothing is touched before the first call");
        stand(&store, vec![meta("k", "v")]).await;
        for file in [path.clone(), path.with_extension("db-wal")] {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(0 < store.size().await.unwrap().bytes);
    }

    #[tokio::test]
    async fn a_file_of_another_program_is_left_untouched() {
        let file = File::new();
        file.sql("CREATE TABLE songs (name TEXT); PRAGMA application_id = 7;");
        let before = fs::read(file.path()).unwrap();
        let store = SqliteStore::new(file.path());
        told(&refused(&store).await, Fault::Other, &["another program", "atalaya.db"]);
        assert_eq!(fs::read(file.path()).unwrap(), before);
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused_with_both_versions_and_left_untouched() {
        let file = File::new();
        stand(&*file.store(), vec![meta("k", "v")]).await;
        file.sql(
            "INSERT INTO refinery_schema_history VALUES (9, 'later', '2030-01-01T00:00:00Z', '1')",
        );
        let before = fs::read(file.path()).unwrap();
        let error = refused(&SqliteStore::new(file.path())).await;
        told(&error, Fault::NewerSchema, &["newer atalaya", "schema is 9", "up to 3"]);
        assert_eq!(fs::read(file.path()).unwrap(), before);
    }

    #[tokio::test]
    async fn history_is_read_beside_the_writer_and_of_our_own_schema_alone() {
        let file = File::new();
        let hour = SignedDuration::from_hours(1);
        let absent = read_history(&file.path(), hour).expect_err("there is none");
        assert!(!file.path().exists(), "{absent}");
        let store = file.store();
        stand(&*store, vec![Write::Flip(flip(&mary(), 1, 0))]).await;
        let history = read_history(&file.path(), hour).unwrap();
        assert_eq!((history.until, history.flips.len()), (at(0), 1));
        stand(&*store, vec![Write::Flip(flip(&mary(), 2, 0))]).await;
        drop(store);
        assert_eq!(read_history(&file.path(), hour).unwrap().flips.len(), 2, "without a writer");
        file.sql("DELETE FROM refinery_schema_history WHERE version = 3");
        let older = read_history(&file.path(), hour).expect_err("an older schema");
        told(&older, Fault::Other, &["start the daemon of this version once", "atalaya.db"]);
    }

    #[tokio::test]
    async fn a_file_whose_making_was_cut_off_is_finished() {
        let file = File::new();
        file.sql(
            "CREATE TABLE refinery_schema_history (version int4 PRIMARY KEY, name VARCHAR(255),
                applied_on VARCHAR(255), checksum VARCHAR(255))",
        );
        stand(&*file.store(), vec![meta("k", "v")]).await;
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_and_once_replaced_the_same_store_goes_on() {
        let file = File::new();
        fs::write(
            file.path(),
            "This is no database at all, but long enough to be one. ".repeat(99),
        )
        .unwrap();
        let store = SqliteStore::new(file.path());
        told(&refused(&store).await, Fault::Damaged, &["damaged", "atalaya.db", "backup"]);
        fs::remove_file(file.path()).unwrap();
        stand(&store, vec![meta("k", "v")]).await;
    }

    #[tokio::test]
    async fn a_file_that_was_moved_is_told_and_once_it_is_back_the_same_store_goes_on() {
        let file = File::new();
        let store = SqliteStore::new(file.path());
        store.open().await.expect("opens");
        let elsewhere = file.path().with_extension("elsewhere");
        fs::rename(file.path(), &elsewhere).expect("moved");
        let error = refused(&store).await;
        assert!(error.to_string().contains("not there any more"), "{error}");
        fs::write(file.path(), "").expect("another file in its place");
        assert!(refused(&store).await.to_string().contains("not there any more"));
        fs::rename(&elsewhere, file.path()).expect("moved back");
        let again = vec![commit(vec![meta("k", "v")])];
        store.commit(again, at(0)).await.expect("it is written again");
        assert_eq!(store.meta("k").await.expect("reads").as_deref(), Some("v"));
    }

    #[tokio::test]
    async fn a_damaged_page_is_found_at_the_start() {
        let file = File::new();
        let writes = (0..900).map(|it| Write::Decision(Box::new(decision(&mary(), None, it))));
        stand(&*file.store(), writes.collect()).await;
        file.sql("PRAGMA wal_checkpoint(TRUNCATE)");
        let mut bytes = fs::read(file.path()).unwrap();
        let middle = bytes.len() / 2 / 4_096 * 4_096;
        bytes[middle..middle + 4_096].fill(0xAA);
        fs::write(file.path(), bytes).unwrap();
        told(&refused(&SqliteStore::new(file.path())).await, Fault::Damaged, &["damaged"]);
    }

    #[tokio::test]
    async fn what_was_committed_survives_a_kill() {
        let file = File::new();
        let store = SqliteStore::new(file.path());
        stand(&store, vec![meta("k", "v")]).await;
        // What a kill leaves: the file and its log as they are, nothing closed.
        let after = File::new();
        for end in ["", "-wal"] {
            let name = format!("atalaya.db{end}");
            fs::copy(file.0.path().join(&name), after.0.path().join(&name)).unwrap();
        }
        let store = SqliteStore::new(after.path());
        assert_eq!(store.meta("k").await.unwrap().as_deref(), Some("v"));
        assert_eq!(store.open().await.unwrap().life_stamp, Some(at(0)));
    }

    #[tokio::test]
    async fn rows_that_cannot_be_read_are_named_or_given_up_and_the_rest_goes_on() {
        let file = File::new();
        let lisa = WatchId::new(Kind::Agent, "lisa");
        let body = || Body::New { message: message(), rings: true };
        let writes = vec![
            Write::Facts(Box::new(facts(&mary(), 1))),
            Write::Facts(Box::new(facts(&lisa, 1))),
            Write::Delivery(Box::new(delivery(1, "telegram", body()))),
            Write::Delivery(Box::new(delivery(2, "telegram", body()))),
        ];
        stand(&*file.store(), writes).await;
        file.sql(
            "UPDATE facts SET state = '[]' WHERE watch = 'agent/lisa';
             UPDATE deliveries SET body = '{\"merry\":1}' WHERE id = 1",
        );
        let store = file.store();
        let opened = store.open().await.unwrap();
        assert_eq!(opened.facts, [facts(&mary(), 1)]);
        assert!(opened.unreadable[0].starts_with("facts of agent/lisa: "), "{opened:?}");
        let owed = store.owed(None, 1).await.unwrap();
        assert_eq!(owed.iter().map(|it| it.id.0).collect::<Vec<_>>(), [2]);
    }

    #[tokio::test]
    async fn a_lock_of_another_program_is_told_and_passes() {
        let file = File::new();
        let store = SqliteStore::new(file.path());
        stand(&store, vec![meta("k", "v")]).await;
        let other = Connection::open(file.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        told(&refused(&store).await, Fault::Busy, &["another program", "locked"]);
        other.execute_batch("ROLLBACK").unwrap();
        stand(&store, vec![meta("k", "w")]).await;
    }

    #[tokio::test]
    async fn a_commit_whose_caller_went_away_is_in_the_book_that_is_read_next() {
        let file = File::new();
        let store = SqliteStore::new(file.path());
        stand(&store, vec![]).await;
        assert_eq!(store.meta("k").await.unwrap(), None, "a reader is open");
        let mut writes: Vec<Write> =
            (0..2_000).map(|n| Write::Flip(flip(&mary(), n + 1, 0))).collect();
        writes.push(Write::Incident(Box::new(incident(1, &mary(), Condition::Down))));
        let mut work = store.commit(vec![commit(writes)], at(0));
        tokio::select! {
            biased;
            _ = &mut work => panic!("it has only begun"),
            () = std::future::ready(()) => {}
        }
        drop(work);
        let (restored, _) = store.desk(at(0)).await.unwrap();
        assert_eq!(restored.incidents.len(), 1);
    }

    #[tokio::test]
    async fn a_caller_that_went_away_before_its_turn_writes_nothing() {
        let file = File::new();
        let store = SqliteStore::new(file.path());
        stand(&store, vec![]).await;
        let turn = Arc::clone(&store.shared.writer).lock_owned().await;
        let mut late = store.commit(vec![commit(vec![meta("late", "x")])], at(0));
        assert!(timeout(Duration::ZERO, &mut late).await.is_err(), "it waits its turn");
        drop(late);
        drop(turn);
        stand(&store, vec![meta("k", "v")]).await;
        assert_eq!(store.meta("late").await.unwrap(), None);
    }

    /// A small disk of its own; unmounted at the end.
    struct Disk(tempfile::TempDir);

    impl Disk {
        /// None on a machine without root, where the story is passed over, loudly.
        fn mount(story: &str) -> Option<Self> {
            let folder = tempfile::tempdir().expect("a folder");
            let disk = Self(folder);
            if disk.run("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs"]) {
                return Some(disk);
            }
            eprintln!("SKIPPED {story}: mounting a tmpfs needs root");
            None
        }

        fn run(&self, program: &str, arguments: &[&str]) -> bool {
            let run = Command::new(program).args(arguments).arg(self.path()).output();
            run.is_ok_and(|it| it.status.success())
        }

        fn path(&self) -> &Path {
            self.0.path()
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            self.run("umount", &["--lazy"]);
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_loses_nothing_and_passes() {
        let Some(disk) = Disk::mount("a_full_disk_is_told_loses_nothing_and_passes") else {
            return;
        };
        let store = SqliteStore::new(disk.path().join("atalaya.db"));
        stand(&store, vec![meta("k", "kept")]).await;
        let ballast = disk.path().join("ballast");
        let filled = fs::write(&ballast, vec![0; 4 * 1024 * 1024]);
        assert!(filled.is_err(), "the disk is full");
        let mut filler = String::from("x").repeat(100_000);
        let error = loop {
            let write = commit(vec![meta("k", &filler)]);
            match store.commit(vec![write], at(1)).await {
                Ok(_) => filler.push('x'),
                Err(error) => break error,
            }
        };
        told(&error, Fault::Full, &["is full", "free space", &*disk.path().to_string_lossy()]);
        told(&refused(&store).await, Fault::Full, &["is full"]);
        let kept = store.meta("k").await.unwrap().unwrap();
        assert!(kept == "kept" || kept.starts_with("xxx"), "reading goes on");
        // Also when it starts there.
        told(&refused(&SqliteStore::new(disk.path().join("new.db"))).await, Fault::Full, &["full"]);
        fs::remove_file(ballast).unwrap();
        stand(&store, vec![meta("k", "again")]).await;
        assert_eq!(store.meta("k").await.unwrap().as_deref(), Some("again"));
    }

    #[tokio::test]
    async fn a_read_only_disk_is_told_and_passes() {
        let Some(disk) = Disk::mount("a_read_only_disk_is_told_and_passes") else { return };
        let path = disk.path().join("atalaya.db");
        stand(&SqliteStore::new(&path), vec![meta("k", "v")]).await;
        assert!(disk.run("mount", &["-o", "remount,ro"]));
        let store = SqliteStore::new(&path);
        told(&refused(&store).await, Fault::ReadOnly, &["cannot be written", "atalaya.db"]);
        let new = SqliteStore::new(disk.path().join("folder/new.db"));
        told(&refused(&new).await, Fault::ReadOnly, &["cannot be written", "new.db"]);
        assert!(disk.run("mount", &["-o", "remount,rw"]));
        stand(&store, vec![meta("k", "w")]).await;
    }

    /// Prints what a storm costs: per flip its facts, history, incident, decision and delivery.
    #[tokio::test]
    async fn ten_thousand_flips_are_durable() {
        const FLIPS: u64 = 10_000;
        let file = File::new();
        let store = SqliteStore::new(file.path());
        stand(&store, vec![]).await;
        let batches: Vec<Vec<Commit>> = (0..FLIPS / 1_000)
            .map(|batch| {
                let of = |it| vec_of_a_flip(batch * 1_000 + it + 1);
                vec![commit((0..1_000).flat_map(of).collect())]
            })
            .collect();
        let rows: usize = batches.iter().flatten().map(|it| it.writes.len()).sum();
        let clock = MachineClock::new();
        let begun = clock.now();
        for batch in batches {
            assert_eq!(store.commit(batch, at(1)).await.unwrap(), [Ok(())]);
        }
        let took = clock.now().duration_since(begun).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let per_second = rows as f64 / took;
        eprintln!("{FLIPS} flips, {rows} rows: {took:.2} s, {per_second:.0} rows/s");
        let (restored, _) = store.desk(at(0)).await.unwrap();
        assert_eq!(restored.incidents.len() as u64, FLIPS);
        assert_eq!(store.owed(None, usize::MAX).await.unwrap().len() as u64, FLIPS);
    }

    fn vec_of_a_flip(id: u64) -> Vec<Write> {
        let watch = WatchId::new(Kind::Agent, &format!("agent-{id}"));
        let body = Body::New { message: message(), rings: true };
        let delivery =
            Delivery { incidents: vec![IncidentId(id)], ..delivery(id, "telegram", body) };
        vec![
            Write::Facts(Box::new(facts(&watch, 1))),
            Write::Flip(flip(&watch, 1, 1)),
            Write::Incident(Box::new(incident(id, &watch, Condition::Down))),
            Write::Decision(Box::new(decision(&watch, Some(id), 1))),
            Write::Delivery(Box::new(delivery)),
        ]
    }
}
