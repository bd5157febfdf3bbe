//! One budget for each destination.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderValue, Request, header};
use tower_conn_core::AuthorityKey;

use super::{Budget, RetryBudget};

/// Where the budget of a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum BudgetSource {
    Unlimited,
    Shared(RetryBudget),
    PerDestination(Destinations),
}

impl BudgetSource {
    pub(crate) fn of<B>(&self, request: &Request<B>) -> Option<RetryBudget> {
        match self {
            Self::Unlimited => None,
            Self::Shared(budget) => Some(budget.clone()),
            Self::PerDestination(destinations) => Some(destinations.of(request)),
        }
    }
}

/// The authority of the URI, or else the value of Host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Destination {
    Authority(AuthorityKey),
    Host(Option<HeaderValue>),
}

/// How many destinations are remembered. Beyond it one is forgotten for each new one: its next
/// request starts with a new budget.
const MOST: usize = 4096;

#[derive(Clone, Debug)]
pub(crate) struct Destinations {
    config: Budget,
    budgets: Arc<RwLock<HashMap<Destination, RetryBudget>>>,
}

impl Destinations {
    pub(crate) fn new(config: Budget) -> Self {
        Self {
            config,
            budgets: Arc::default(),
        }
    }

    fn of<B>(&self, request: &Request<B>) -> RetryBudget {
        let destination = match request.uri().authority() {
            Some(authority) => Destination::Authority(authority.clone().into()),
            None => Destination::Host(request.headers().get(header::HOST).cloned()),
        };
        let budgets = self.budgets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(&destination) {
            return budget.clone();
        }
        drop(budgets);
        let mut budgets = self.budgets.write().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() >= MOST && !budgets.contains_key(&destination) {
            let forgotten = budgets.keys().next().cloned();
            forgotten.map(|key| budgets.remove(&key));
        }
        budgets
            .entry(destination)
            .or_insert_with(|| self.config.build())
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, host: &str) -> Request<()> {
        Request::builder()
            .uri(uri)
            .header(header::HOST, host)
            .body(())
            .expect("a request")
    }

    #[test]
    fn each_destination_has_its_own() {
        let destinations = Destinations::new(Budget::percent(0).min_per_sec(1));
        assert!(destinations.of(&request("http://a/1", "x")).withdraw());
        assert!(!destinations.of(&request("http://a/2", "y")).withdraw());
        assert!(
            !destinations.of(&request("http://A/3", "y")).withdraw(),
            "hosts are case-insensitive"
        );
        assert!(destinations.of(&request("http://a:81/", "x")).withdraw());
        assert!(destinations.of(&request("/1", "a")).withdraw());
        assert!(!destinations.of(&request("/2", "a")).withdraw());
        assert!(destinations.of(&request("/2", "b")).withdraw());
    }

    #[test]
    fn the_number_remembered_is_bounded() {
        let destinations = Destinations::new(Budget::default());
        for host in 0..MOST + 100 {
            destinations
                .of(&request(&format!("http://h{host}/"), "x"))
                .deposit();
        }
        assert_eq!(
            destinations.budgets.read().expect("not poisoned").len(),
            MOST
        );
    }
}
