//! A file that the user named, and what only the user knows of it: where the
//! functions are in a program that keeps no symbols.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::library::{LIBRARIES, Library};

/// `FILE` or `FILE@SSL_write=0x41f30,SSL_read=0x41e10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As the user wrote it.
    pub path: PathBuf,
    /// Functions of one library with their addresses before relocation, as
    /// the symbol table would have them; empty: its symbols are looked for.
    pub functions: Vec<(&'static str, u64)>,
}

/// Why what the user wrote cannot be meant; the text names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamedError {
    /// There is no such file.
    #[error("{0}: there is no such file")]
    NoFile(String),
    /// It cannot be understood.
    #[error("{0}")]
    Wrong(String),
}

impl Named {
    /// A file without more.
    #[must_use]
    pub fn plain(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            functions: Vec::new(),
        }
    }

    /// Reads what the user wrote. A file whose name has an `@` in it is found
    /// too.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub fn parse(text: &OsStr) -> Result<Self, NamedError> {
        let plain = Self::plain(Path::new(text));
        if plain.path.is_file() {
            return Ok(plain);
        }
        let bytes = text.as_bytes();
        let at = memchr::memrchr(b'@', bytes);
        let split = at.and_then(|at| Some((bytes.get(..at)?, bytes.get(at + 1..)?)));
        let (path, functions) = split.unwrap_or((bytes, b""));
        let path = PathBuf::from(OsStr::from_bytes(path));
        if !path.is_file() {
            return Err(NamedError::NoFile(path.display().to_string()));
        }
        let shown = text.to_string_lossy();
        let wrong = |what: String| NamedError::Wrong(format!("{shown}: {what}"));
        let functions = String::from_utf8_lossy(functions)
            .split(',')
            .map(function)
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let named = Self { path, functions };
        named.check().map_err(wrong)?;
        Ok(named)
    }

    /// The library whose functions were named: of several with the first of
    /// them, the one that has them all.
    #[must_use]
    pub fn library(&self) -> Option<&'static Library> {
        let (first, _) = self.functions.first()?;
        let mut having = LIBRARIES.iter().filter(|library| has(library, first));
        let all = |library: &&Library| self.functions.iter().all(|(name, _)| has(library, name));
        having.clone().find(all).or_else(|| having.next())
    }

    /// Whether the functions are of one library, each once, and enough.
    fn check(&self) -> Result<(), String> {
        let Some(library) = self.library() else {
            return Ok(());
        };
        for (index, (name, _)) in self.functions.iter().enumerate() {
            if !has(library, name) {
                return Err(format!("{name} is not a function of {}", library.name));
            }
            if self
                .functions
                .iter()
                .skip(index + 1)
                .any(|(n, _)| n == name)
            {
                return Err(format!("{name} is there twice"));
            }
        }
        let missing: Vec<&str> = library
            .calls
            .iter()
            .filter(|call| call.required && self.functions.iter().all(|(n, _)| *n != call.symbol))
            .map(|call| call.symbol)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the address of {} is needed too",
            missing.join(" and of ")
        ))
    }
}

fn has(library: &Library, name: &str) -> bool {
    library.calls.iter().any(|call| call.symbol == name)
}

/// `SSL_read=0x41e10`.
fn function(text: &str) -> Result<(&'static str, u64), String> {
    let Some((name, address)) = text.split_once('=') else {
        return Err(format!(
            "“{text}” is no function with its address, such as SSL_read=0x41e10"
        ));
    };
    let known = LIBRARIES
        .iter()
        .flat_map(|library| library.calls)
        .map(|call| call.symbol);
    let Some(symbol) = known.clone().find(|symbol| *symbol == name) else {
        let mut names: Vec<&str> = Vec::new();
        // Some are in several entries.
        for symbol in known {
            if !names.contains(&symbol) {
                names.push(symbol);
            }
        }
        return Err(format!(
            "{name} is not a function that httpsniff knows; it knows {}",
            names.join(", ")
        ));
    };
    let number = match address.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => address.parse(),
    };
    let number = number.map_err(|_| {
        format!("“{address}” is no address; write it in hexadecimal (0x41e10) or decimal")
    })?;
    Ok((symbol, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Named, NamedError> {
        Named::parse(OsStr::new(text))
    }

    #[test]
    fn files_and_addresses_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a@b=1");
        std::fs::write(&path, "").unwrap();
        let shown = path.display();
        assert_eq!(parse(path.to_str().unwrap()), Ok(Named::plain(&path)));
        let named = parse(&format!("{shown}@SSL_write=0x1f,SSL_read=32")).unwrap();
        assert_eq!(named.path, path);
        assert_eq!(named.functions, [("SSL_write", 0x1f), ("SSL_read", 32)]);
        assert_eq!(named.library().unwrap().name, "OpenSSL");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("/missing", "no such file"),
            ("/missing@SSL_read=1", "/missing: there is no such file"),
            ("/proc/self/exe@", "no function with its address"),
            ("/proc/self/exe@SSL_read", "no function with its address"),
            ("/proc/self/exe@SSL_red=1", "it knows SSL_read, SSL_write"),
            ("/proc/self/exe@SSL_read=0x1", "SSL_write is needed too"),
            ("/proc/self/exe@SSL_read=x", "no address"),
            ("/proc/self/exe@SSL_read=1,SSL_read=2", "twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
