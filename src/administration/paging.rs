//! Lists that grow are read a page at a time, by keyset: what comes after a cursor, so that a page costs the same however
//! deep it lies, and rows that come or go in between shift nothing.

use super::Refused;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The longest page.
const MOST: u32 = 500;
/// A page of which nobody said how long it should be.
const USUAL: u32 = 100;

/// Part of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// `after` of the next page; null when this is the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list that has no second page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// A page of at most `limit` rows out of `limit + 1` that were asked for.
    pub(super) fn of(mut items: Vec<T>, limit: u32, cursor: impl FnOnce(&T) -> String) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }

    /// The same page of something else.
    pub(super) fn map<U>(self, to: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(to).collect(), next: self.next }
    }
}

/// Which part of a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct PageRequest {
    /// How many rows at most.
    #[param(minimum = 1, maximum = 500, default = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl PageRequest {
    /// How many rows.
    ///
    /// # Errors
    /// When it is not 1 to 500.
    pub(super) fn limit(&self) -> Result<u32, Refused> {
        match self.limit.unwrap_or(USUAL) {
            limit @ 1..=MOST => Ok(limit),
            _ => Err(Refused::Invalid(format!("limit is a number from 1 to {MOST}"))),
        }
    }

    /// The parts of the cursor, if there is one.
    ///
    /// # Errors
    /// When it is not one that [`cursor`] made of as many parts.
    pub(super) fn after<const N: usize>(&self) -> Result<Option<[String; N]>, Refused> {
        let Some(text) = &self.after else { return Ok(None) };
        let parts = || {
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
            let parts: Vec<String> = String::from_utf8(bytes).ok()?.split('\0').map(str::to_owned).collect();
            parts.try_into().ok()
        };
        parts().map(Some).ok_or_else(foreign_cursor)
    }
}

/// A cursor, opaque to whoever gets it.
pub(super) fn cursor(parts: &[&str]) -> String {
    BASE64URL_NOPAD.encode(parts.join("\0").as_bytes())
}

/// The text was not made by [`cursor`] for this list.
pub(super) fn foreign_cursor() -> Refused {
    Refused::Invalid("after is no cursor of this list: take it from `next` of the page before".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> PageRequest {
        PageRequest { after: Some(text.to_owned()), limit: None }
    }

    #[test]
    fn cursors_come_back_in_as_many_parts() {
        let text = cursor(&["", "https://client.example/x"]);
        assert_eq!(after(&text).after::<2>().unwrap().unwrap(), ["", "https://client.example/x"]);
        for bad in [after(&text).after::<1>().is_err(), after("%").after::<1>().is_err()] {
            assert!(bad);
        }
        assert!(PageRequest::default().after::<1>().unwrap().is_none());
    }

    #[test]
    fn only_a_page_with_something_behind_it_has_a_next_one() {
        let page = |rows: Vec<u8>| Page::of(rows, 2, |row| row.to_string());
        assert_eq!((page(vec![1, 2]).next, page(vec![]).next), (None, None));
        let cut = page(vec![1, 2, 3]);
        assert_eq!((cut.items, cut.next), (vec![1, 2], Some("2".to_owned())));
    }

    #[test]
    fn pages_have_a_sensible_length() {
        for (limit, good) in [(None, true), (Some(0), false), (Some(1), true), (Some(500), true), (Some(501), false)] {
            assert_eq!(PageRequest { limit, after: None }.limit().is_ok(), good, "{limit:?}");
        }
    }
}
