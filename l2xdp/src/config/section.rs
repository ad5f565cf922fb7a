//! A table of the file: hands out checked values, and reports what is unknown, missing or wrong in it.

use super::error::{Place, Problems, Reported};
use super::keys::Table;
use super::value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of the file.
pub struct Section<'a> {
    keys: &'static Table,
    table: &'a DeTable<'a>,
    /// Where its header stands.
    offset: usize,
    problems: &'a Problems<'a>,
}

impl<'a> Section<'a> {
    /// Of a table; keys that it may not hold are reported at once.
    pub fn new(
        keys: &'static Table,
        table: &'a DeTable<'a>,
        offset: usize,
        problems: &'a Problems<'a>,
    ) -> Self {
        let section = Self { keys, table, offset, problems };
        for key in table.keys().filter(|key| keys.get(key.get_ref()).is_none()) {
            let place = Place { key: section.path(key.get_ref()), offset: key.span().start };
            problems.report(place, keys.refuse(key.get_ref()));
        }
        section
    }

    /// A value that must be there.
    pub fn required<T>(
        &self,
        key: &'static str,
        check: impl Fn(&DeValue) -> value::Checked<T>,
    ) -> Result<T, Reported> {
        self.optional(key, check)?.ok_or_else(|| self.missing(key))
    }

    /// A value, or what it is when the file does not say.
    pub fn with_default<T>(
        &self,
        key: &'static str,
        default: T,
        check: impl Fn(&DeValue) -> value::Checked<T>,
    ) -> Result<T, Reported> {
        Ok(self.optional(key, check)?.unwrap_or(default))
    }

    /// A value that may be there.
    pub fn optional<T>(
        &self,
        key: &'static str,
        check: impl Fn(&DeValue) -> value::Checked<T>,
    ) -> Result<Option<T>, Reported> {
        let Some(value) = self.value(key) else { return Ok(None) };
        check(value.get_ref()).map(Some).map_err(|message| self.report(key, message))
    }

    /// The tables of an array of tables, none if it is not there.
    pub fn tables(&self, keys: &'static Table) -> Result<Vec<Section<'a>>, Reported> {
        let name = keys.path.rsplit('.').nth(1).unwrap_or(keys.path);
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let elements = match value.get_ref() {
            DeValue::Array(elements) => elements.iter(),
            other => return Err(self.report(name, value::refuse(other, keys.header))),
        };
        // Every element is looked at before the first wrong one ends it.
        let tables: Vec<_> = elements.map(|element| self.table(name, keys, element)).collect();
        tables.into_iter().collect()
    }

    /// Is it there?
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Says that a key must not be there, if it is.
    pub fn exclude(&self, key: &'static str, message: &str) -> Result<(), Reported> {
        if self.has(key) { Err(self.report(key, message)) } else { Ok(()) }
    }

    /// Says that a key is missing.
    pub fn missing(&self, key: &'static str) -> Reported {
        let example = self.keys.get(key).map_or(key, |key| key.example);
        self.report(key, format!("is missing; add it, for example: {example}"))
    }

    /// Says what is wrong with a key.
    pub fn report(&self, key: &str, message: impl Into<String>) -> Reported {
        let place = Place { key: self.path(key), offset: self.offset(key) };
        self.problems.report(place, message)
    }

    /// Where a key's value stands, in bytes from the start of the file; the header's place if it is not there.
    pub fn offset(&self, key: &str) -> usize {
        self.value(key).map_or(self.offset, |value| value.span().start)
    }

    /// A key with its tables.
    pub fn path(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        let table = self.keys.path;
        if bare { format!("{table}{key}") } else { format!("{table}{key:?}") }
    }

    /// Where all problems go.
    pub fn problems(&self) -> &'a Problems<'a> {
        self.problems
    }

    fn table(
        &self,
        name: &str,
        keys: &'static Table,
        element: &'a Spanned<DeValue<'a>>,
    ) -> Result<Section<'a>, Reported> {
        let offset = element.span().start;
        match element.get_ref() {
            DeValue::Table(table) => Ok(Section::new(keys, table, offset, self.problems)),
            other => {
                let place = Place { key: self.path(name), offset };
                Err(self.problems.report(place, value::refuse(other, keys.header)))
            }
        }
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.keys.get(key).is_some(), "{key} is not in keys.rs");
        self.table.get(key)
    }
}
