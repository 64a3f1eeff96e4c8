//! SQLite, the file: opening it with all checks, and its faults in plain words.

use std::{
    error::Error,
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use refinery::{Migration, Runner};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Access, access, statvfs};

use crate::ports::store::{Fault, StoreError};

/// "ATLY", as the first migration writes it.
const APPLICATION_ID: i64 = 0x4154_4C59;

/// The table in which refinery keeps the migrations that were run.
const HISTORY: &str = "refinery_schema_history";

/// How long a lock of another program (a backup, a person's `sqlite3`) is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Files up to this are read through at the first open (about a second); of larger ones a damaged page is
/// found when it is read.
const CHECKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Below this much room a failed write is a full disk, whatever SQLite calls it: the shared-memory file
/// grows by 32 KiB.
const FULL_BELOW_BYTES: u64 = 64 * 1024;

/// The migrations, oldest first; never edited once released.
const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__the_first_tables", include_str!("migrations/V1__the_first_tables.sql")),
    ("V2__rehearsed_deliveries", include_str!("migrations/V2__rehearsed_deliveries.sql")),
    ("V3__kept_beats", include_str!("migrations/V3__kept_beats.sql")),
];

/// What went wrong, before it is worded for a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Migration(#[from] refinery::Error),
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error("page check: {0}")]
    Damaged(String),
    #[error("its schema is {found}, this one knows up to {known}")]
    Newer { found: i64, known: i64 },
    #[error("its schema is {found}, this one needs {known}: start the daemon of this version once")]
    Older { found: i64, known: i64 },
    #[error("it is the database of another program ({0:#x}), left untouched: name another file")]
    Foreign(i64),
    /// What is written would be lost with the last handle on it.
    #[error("it was moved or deleted while in use")]
    Moved,
    #[error("the work on the store was cut off")]
    CutOff,
}

/// Opens the file to write, makes it where it is missing, and brings its tables up to date. `check` reads
/// it through before.
pub(super) fn open_writer(path: &Path, check: bool) -> Result<Connection, Trouble> {
    let runner = runner()?;
    let is_new = fs::metadata(path).map_or(true, |it| it.len() == 0);
    if is_new {
        make(path)?;
    } else {
        // By a connection that cannot write: a file that is not ours stays as it is.
        refuse_foreign(&open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?, &runner)?;
    }
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Before the first table, else it takes a VACUUM.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    // A checkpoint syncs the main file: 16 MiB of log between two keep a storm of commits quick.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    if check && !is_new {
        check_pages(&connection, path)?;
    }
    runner.run(&mut connection)?;
    Ok(connection)
}

/// Opens the file to read; [`open_writer`] has made it before.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Trouble> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Looks at the file and changes nothing: whether it is ours, whole, and can be written. Its bytes; none where there
/// is no file yet.
///
/// # Errors
/// What a start would meet.
pub fn look(path: &Path) -> Result<Option<u64>, StoreError> {
    let looked = || {
        let is_new = fs::metadata(path).map_or(true, |it| it.len() == 0);
        let deepest = path.ancestors().skip(1).find(|it| it.exists()).unwrap_or(folder(path));
        let places = if is_new { vec![deepest] } else { vec![folder(path), path] };
        for place in places {
            access(place, Access::WRITE_OK).map_err(std::io::Error::from)?;
        }
        if is_new {
            return Ok(None);
        }
        let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        refuse_foreign(&connection, &runner()?)?;
        check_pages(&connection, path)?;
        Ok(Some(bytes(path)))
    };
    looked().map_err(|trouble| told("look", trouble, path))
}

/// Bytes that are free for us on the disk that holds this path, or will.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let place = path.ancestors().find(|it| it.exists()).unwrap_or(Path::new("."));
    statvfs(place).ok().map(|it| it.f_bavail.saturating_mul(it.f_frsize))
}

/// Opens a file that another process may be writing, to read it and nothing else.
pub(super) fn open_foreign_reader(path: &Path) -> Result<Connection, Trouble> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let runner = runner()?;
    let found = refuse_foreign(&connection, &runner)?;
    let known = newest(&runner);
    if found < known { Err(Trouble::Older { found, known }) } else { Ok(connection) }
}

/// Which file lies at the path: device and number; none where there is none.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

/// Bytes of the file and its log.
pub(super) fn bytes(path: &Path) -> u64 {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    [path, &log].iter().filter_map(|it| fs::metadata(it).ok()).map(|it| it.len()).sum()
}

fn open(path: &Path, how: OpenFlags) -> Result<Connection, Trouble> {
    let connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    Ok(connection)
}

/// Only we may read what agents and people said; SQLite gives its log the mode of the file.
fn make(path: &Path) -> Result<(), Trouble> {
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    Ok(())
}

fn runner() -> Result<Runner, Trouble> {
    let migrations: Result<Vec<_>, _> =
        MIGRATIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql)).collect();
    Ok(Runner::new(&migrations?))
}

/// The newest migration that is known.
fn newest(runner: &Runner) -> i64 {
    runner.get_migrations().iter().map(|it| i64::from(it.version())).max().unwrap_or(0)
}

/// The schema's version; 0 of a file without tables.
fn refuse_foreign(connection: &Connection, runner: &Runner) -> Result<i64, Trouble> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(0);
    }
    let has_history: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)",
        [HISTORY],
        |row| row.get(0),
    )?;
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    // A kill between making the history and the first migration leaves it alone in the file.
    let is_begun = application == 0 && has_history && tables <= 2;
    if application != APPLICATION_ID && !is_begun {
        return Err(Trouble::Foreign(application));
    }
    let found: i64 = connection.query_row(
        &format!("SELECT coalesce(max(version), 0) FROM {HISTORY}"),
        [],
        |row| row.get(0),
    )?;
    let known = newest(runner);
    if known < found { Err(Trouble::Newer { found, known }) } else { Ok(found) }
}

fn check_pages(connection: &Connection, path: &Path) -> Result<(), Trouble> {
    if CHECKED_BYTES_MAX < bytes(path) {
        return Ok(());
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(Trouble::Damaged(found)) }
}

/// Words a trouble for the operator: what it is, where, and what to do.
pub(super) fn told(operation: &'static str, trouble: Trouble, path: &Path) -> StoreError {
    let kind = fault(&trouble, path);
    let file = path.display();
    let folder = folder(path).display().to_string();
    let plain = match kind {
        _ if matches!(trouble, Trouble::Moved) => format!(
            "{file} is not there any more: put it back and writing goes on, or start atalaya again, which \
             begins a new one"
        ),
        Fault::Full => format!(
            "the disk of {folder} is full: free space there; nothing stored was lost, and writing goes on \
             by itself"
        ),
        Fault::ReadOnly => format!(
            "{file} cannot be written (read-only file, folder or disk): give atalaya the right to write \
             there; it goes on by itself"
        ),
        Fault::Damaged => format!(
            "the file {file} is damaged or no database: stop atalaya, move the file and its -wal away (or \
             put a backup in their place), and start again"
        ),
        Fault::NewerSchema => format!(
            "{file} was written by a newer atalaya ({trouble}), and was left untouched: run that version, \
             or name another file"
        ),
        Fault::Busy => format!(
            "another program holds {file} locked: end it (a backup, a sqlite3 shell?); writing goes on by \
             itself"
        ),
        Fault::Other => format!("{file}: {trouble}"),
    };
    // Words that hold the cause already would say it twice.
    let is_said = matches!(kind, Fault::NewerSchema | Fault::Other);
    let source = (!is_said).then(|| Box::new(trouble) as Box<dyn Error + Send + Sync>);
    StoreError { operation, plain, kind, source }
}

fn fault(trouble: &Trouble, path: &Path) -> Fault {
    match trouble {
        Trouble::Newer { .. } => Fault::NewerSchema,
        Trouble::Damaged(_) => Fault::Damaged,
        Trouble::Older { .. } | Trouble::Foreign(_) | Trouble::Moved | Trouble::CutOff => {
            Fault::Other
        }
        Trouble::File(error) => file_fault(error),
        Trouble::Sqlite(error) => sqlite_fault(error, path),
        // refinery wraps SQLite's error.
        Trouble::Migration(error) => error
            .source()
            .and_then(|it| it.downcast_ref::<rusqlite::Error>())
            .map_or(Fault::Other, |it| sqlite_fault(it, path)),
    }
}

fn sqlite_fault(error: &rusqlite::Error, path: &Path) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Fault::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Fault::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Busy,
        // SQLite does not say why the log or the shared memory could not be made or grown.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            if is_full(folder(path)) {
                Fault::Full
            } else if is_read_only(path) {
                Fault::ReadOnly
            } else {
                Fault::Other
            }
        }
        _ => Fault::Other,
    }
}

fn file_fault(error: &std::io::Error) -> Fault {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other kinds say nothing more")]
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Fault::Full,
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            Fault::ReadOnly
        }
        _ => Fault::Other,
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_full(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) < FULL_BELOW_BYTES)
}

fn is_read_only(path: &Path) -> bool {
    access(folder(path), Access::WRITE_OK).is_err()
        || (path.exists() && access(path, Access::WRITE_OK).is_err())
}
