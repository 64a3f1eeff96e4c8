//! Environment: the one place where the process's variables are read, and `.env` files, which are
//! variables too.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    document::Document,
    report::{Finding, Place, mask},
};

/// What the process was started with. Built once by `main`; tests write their own.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Name of a node that is not named.
    pub host_name: String,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        out.debug_list().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    pub fn new<Name: Into<String>, Value: Into<String>>(
        variables: impl IntoIterator<Item = (Name, Value)>,
        host_name: &str,
    ) -> Self {
        let variables =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, host_name: host_name.to_owned() }
    }

    /// The variables of this process; what is not UTF-8 is read with replacement characters.
    #[expect(clippy::disallowed_methods, reason = "the one place where they are read")]
    pub fn of_process() -> Self {
        let text = |it: std::ffi::OsString| it.to_string_lossy().into_owned();
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self::new(std::env::vars_os().map(|(name, value)| (text(name), text(value))), &host_name)
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|it| !it.is_empty())
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// All variables that are set, with their places.
    pub(crate) fn variables(&self) -> Vec<Variable> {
        let set = self.variables.iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| Variable {
            name: name.clone(),
            value: value.clone(),
            place: Place::Named(mask(&format!("environment: {name}={value}"))),
        })
        .collect()
    }
}

/// One variable, and where it was set.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Reads `KEY=value` lines: values as given, one pair of quotes taken off, `$HOME` expanded.
pub(crate) fn dotenv(
    path: &Path,
    text: String,
    home: Option<&str>,
    findings: &mut Vec<Finding>,
) -> Vec<Variable> {
    let document = Document::blank(&path.display().to_string(), text);
    let mut variables = Vec::new();
    let mut start = 0;
    for line in document.text.split_inclusive('\n') {
        let span = start..start + line.trim_end().len();
        start += line.len();
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let content = content.strip_prefix("export ").unwrap_or(content);
        let Some((name, value)) = content.split_once('=').filter(|(name, _)| is_name(name.trim()))
        else {
            let place = document.place(span);
            findings.push(Finding::error(
                place,
                "not a line of KEY=value",
                "begin a remark with #",
            ));
            continue;
        };
        let value = expand(unquote(value.trim()), home);
        if !value.is_empty() {
            let place = document.place(span);
            variables.push(Variable { name: name.trim().to_owned(), value, place });
        }
    }
    variables
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

fn unquote(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote).and_then(|it: &str| it.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

fn expand(value: &str, home: Option<&str>) -> String {
    match home {
        Some(home) => value.replace("${HOME}", home).replace("$HOME", home),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_file_is_read_as_given() {
        let text = "# remark\n\nA=1\nexport B = 'x y'\nC=\"$HOME/c\"\nD=\nE=a=b\nno line\n";
        let mut findings = Vec::new();
        let read = dotenv(Path::new(".env"), text.to_owned(), Some("/home/ana"), &mut findings);
        let read: Vec<_> = read.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
        assert_eq!(read, [("A", "1"), ("B", "x y"), ("C", "/home/ana/c"), ("E", "a=b")]);
        let said = findings.iter().map(ToString::to_string).collect::<String>();
        assert!(said.contains(".env:8:1"), "{said}");
    }
}
