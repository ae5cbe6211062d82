//! Lists a page at a time: `?limit=` entries, those `after` one of them.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::error::ApiError;
use super::extract::{not_a_choice, pairs, wrong};
use crate::error::{Problem, Result};

/// Most entries in one answer, which is as many as there are without a limit.
pub(super) const MOST: usize = 1_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    limit: usize,
    after: Option<String>,
}

/// A page, and who says to be calling.
pub(super) struct CallersPage(pub Option<String>, pub Page);

impl Page {
    /// The part of a list whose entries have these names. With it the name that the next page
    /// begins after, where there are more.
    ///
    /// # Errors
    /// `invalid_request` where no entry has the name that the page is to begin after.
    pub(super) fn of<T>(
        self,
        list: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let from = match &self.after {
            None => 0,
            Some(after) => match list.iter().position(|entry| name(entry) == after) {
                Some(at) => at + 1,
                None => {
                    return Err(wrong("after", "the list has no such entry now")
                        .found(after)
                        .expected("the `next` of the page before; begin anew"));
                }
            },
        };
        Ok(self.cut(list, from, name))
    }

    /// The same of a list in the order of its names: where the entry itself is gone, the page
    /// begins after its place.
    pub(super) fn of_sorted<T>(
        self,
        list: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> (Vec<T>, Option<String>) {
        let from = match &self.after {
            None => 0,
            Some(after) => list.partition_point(|entry| name(entry) <= after.as_str()),
        };
        self.cut(list, from, name)
    }

    fn cut<T>(
        self,
        list: Vec<T>,
        from: usize,
        name: impl Fn(&T) -> &str,
    ) -> (Vec<T>, Option<String>) {
        let more = list.len() > from + self.limit;
        let page: Vec<T> = list.into_iter().skip(from).take(self.limit).collect();
        let next = page.last().filter(|_| more).map(|last| name(last).into());
        (page, next)
    }

    fn read(parts: &Parts, with_caller: bool) -> Result<CallersPage, Problem> {
        let expected = match with_caller {
            true => "limit, after or caller",
            false => "limit or after",
        };
        let mut page = Page {
            limit: MOST,
            after: None,
        };
        let mut caller = None;
        for (name, value) in pairs(parts, expected)? {
            match name.as_str() {
                "limit" => {
                    let limit = value.parse().ok();
                    page.limit = limit
                        .filter(|limit| (1..=MOST).contains(limit))
                        .ok_or_else(|| {
                            not_a_choice(&name, &value, &format!("a number from 1 to {MOST}"))
                        })?;
                }
                "after" => page.after = Some(value),
                "caller" if with_caller => caller = Some(value),
                _ => {
                    return Err(wrong(&name, "there is no such parameter")
                        .found(&name)
                        .expected(expected));
                }
            }
        }
        Ok(CallersPage(caller, page))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Page::read(parts, false)?.1)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CallersPage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Page::read(parts, true)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(names: &[String], limit: usize, sorted: bool) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let page = Page { limit, after };
            let (page, next) = match sorted {
                true => page.of_sorted(names.to_vec(), |name| name),
                false => page.of(names.to_vec(), |name| name).unwrap(),
            };
            pages.push(page);
            match next {
                Some(next) => after = Some(next),
                None => return pages,
            }
        }
    }

    proptest! {
        #[test]
        fn pages_are_the_list_in_parts(
            names in proptest::collection::btree_set("[a-z]{1,4}", 0..30),
            limit in 1_usize..9,
            turned: bool,
        ) {
            let mut names: Vec<String> = names.into_iter().collect();
            if turned {
                names.reverse();
            }
            let pages = all(&names, limit, !turned);
            prop_assert_eq!(pages.concat(), names.clone());
            prop_assert_eq!(pages.len(), names.len().div_ceil(limit).max(1));
            prop_assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit));
        }

        #[test]
        fn a_sorted_list_goes_on_where_an_entry_is_gone(
            names in proptest::collection::btree_set("[a-z]{1,4}", 1..30),
            after in "[a-z]{1,4}",
        ) {
            let expected: Vec<String> = names.iter().filter(|name| **name > after).cloned().collect();
            let page = Page { limit: MOST, after: Some(after.clone()) };
            let names: Vec<String> = names.into_iter().collect();
            let (found, next) = page.of_sorted(names, |name| name);
            prop_assert_eq!((found, next), (expected, None));
        }
    }

    #[test]
    fn an_entry_that_is_gone_from_another_list_is_said() {
        let page = Page {
            limit: 1,
            after: Some("b".into()),
        };
        let error = page.of(vec!["c".to_string(), "a".into()], |name| name);
        assert_eq!(error.unwrap_err().field.as_deref(), Some("after"));
    }
}
