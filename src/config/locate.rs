//! Locate: which files are read. Flag, then variable, then the first of ./config, ~/.config/atalaya
//! and /etc/atalaya that holds one of them; none is well too: the built-in settings.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Sources,
    document::Document,
    report::{Finding, Place},
};

/// Ten thousand agents with remarks are two of these.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What was found, each as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) config: Option<PathBuf>,
    pub(crate) registry: Option<PathBuf>,
    /// Weakest first.
    pub(crate) dotenv: Vec<PathBuf>,
}

/// Finds the files; one that was named need not exist, and is then told when it is read.
pub(crate) fn locate(sources: &Sources) -> Found {
    let exists = |path: &Path| sources.cwd.join(path).exists();
    let environment = &sources.environment;
    let named_config = sources.config.clone().or_else(|| environment.path("ATALAYA_CONFIG"));
    let named_registry = sources.registry.clone().or_else(|| environment.path("ATALAYA_REGISTRY"));
    let home = environment.path("HOME").map(|it| it.join(".config/atalaya"));
    let folder = [Some(PathBuf::from("config")), home, Some(PathBuf::from("/etc/atalaya"))]
        .into_iter()
        .flatten()
        .find(|it| {
            ["atalaya.toml", "registry.toml", "registry.d"]
                .iter()
                .any(|file| exists(&it.join(file)))
        });
    let beside = match &named_config {
        Some(config) => Some(config.parent().unwrap_or(Path::new("")).to_owned()),
        None => folder.clone(),
    };
    let config =
        named_config.or_else(|| folder.map(|it| it.join("atalaya.toml")).filter(|it| exists(it)));
    let registry = named_registry.or_else(|| {
        let path = beside?.join("registry.toml");
        (exists(&path) || exists(&path.with_extension("d"))).then_some(path)
    });
    let mut dotenv: Vec<PathBuf> = vec![".env".into()];
    dotenv.extend(config.as_ref().map(|it| it.with_file_name(".env")));
    dotenv.dedup();
    dotenv.retain(|it| exists(it));
    Found { config, registry, dotenv }
}

/// The registry's files: the one that is named and `*.toml` of the folder beside it (registry.d),
/// by name; or, where a folder was named, those of that folder.
pub(crate) fn registry_files(cwd: &Path, registry: &Path) -> Vec<PathBuf> {
    let at = cwd.join(registry);
    if at.is_dir() {
        return folder(cwd, registry);
    }
    let beside = folder(cwd, &registry.with_extension("d"));
    let alone = at.exists() || beside.is_empty();
    alone.then(|| registry.to_owned()).into_iter().chain(beside).collect()
}

fn folder(cwd: &Path, shown: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cwd.join(shown)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(shown.join(entry.ok()?.file_name())))
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .filter(|path| !path.file_name().is_some_and(|it| it.to_string_lossy().starts_with('.')))
        .collect();
    files.sort();
    files
}

/// Reads a file as text; what keeps it from being read is a finding.
pub(crate) fn read(cwd: &Path, shown: &Path, findings: &mut Vec<Finding>) -> Option<String> {
    let name = shown.display().to_string();
    let file = match fs::File::open(cwd.join(shown)) {
        Ok(file) => file,
        Err(error) => {
            let help = if error.kind() == std::io::ErrorKind::NotFound {
                "create it, or name another with --config and --registry"
            } else {
                "make it a file that this user may read"
            };
            let message = format!("cannot open {name}: {error}");
            findings.push(Finding::error(Place::Named(name), message, help));
            return None;
        }
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes) {
        let message = format!("cannot read {name}: {error}");
        findings.push(Finding::error(Place::Named(name), message, "it must be a file"));
        return None;
    }
    if FILE_BYTES_MAX < bytes.len() as u64 {
        let message = format!("{name} is longer than 16 MiB");
        findings.push(Finding::error(Place::Named(name), message, "divide it: registry.d/*.toml"));
        return None;
    }
    text(&name, bytes, findings)
}

/// The bytes as text; the first that is not UTF-8 is a finding.
pub(crate) fn text(name: &str, bytes: Vec<u8>, findings: &mut Vec<Finding>) -> Option<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let place = Document::blank(name, lossy).place(at..at + 1);
            findings.push(Finding::error(
                place,
                format!("{name} is not UTF-8"),
                "save it as UTF-8",
            ));
            None
        }
    }
}
