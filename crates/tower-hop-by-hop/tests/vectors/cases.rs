//! The vectors, read.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use serde_json::Value;
use tower_conn_testkit::vectors;
use tower_hop_by_hop::{
    MalformedOptions, Policy, ProtectedNames, ProxyAuth, Te, Trailers, TransferCodings, Upgrades,
};

pub(crate) struct Case(pub(crate) Value);

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let all = vectors::load(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/hop-by-hop.jsonl"
        ));
        assert_eq!(all.len(), 105);
        all.into_iter().map(Self).collect()
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    pub(crate) fn name(&self) -> &str {
        self.text("name").expect("a name")
    }

    pub(crate) fn direction(&self) -> &str {
        self.text("direction").expect("a direction")
    }

    pub(crate) fn outcome(&self) -> &str {
        self.text("outcome").expect("an outcome")
    }

    pub(crate) fn headers(&self, key: &str) -> HeaderMap {
        self.0
            .get(key)
            .map_or_else(HeaderMap::new, vectors::headers)
    }

    pub(crate) fn version(&self, key: &str) -> Version {
        match self.text(key) {
            Some("1.0") => Version::HTTP_10,
            Some("1.1") => Version::HTTP_11,
            Some("2") => Version::HTTP_2,
            other => panic!("{}: version {other:?}", self.name()),
        }
    }

    pub(crate) fn method(&self) -> Method {
        let method = self.text("method").unwrap_or("GET");
        Method::from_bytes(method.as_bytes()).expect("a method")
    }

    pub(crate) fn status(&self) -> StatusCode {
        let status = self.0["status"].as_u64().expect("a status");
        StatusCode::from_u16(status.try_into().expect("small")).expect("a status")
    }

    pub(crate) fn knob(&self, key: &str) -> Option<&Value> {
        self.0["policy"].get(key)
    }

    pub(crate) fn knob_text(&self, key: &str) -> Option<&str> {
        self.knob(key).and_then(Value::as_str)
    }

    /// The vectors' baseline, with what the case changes.
    pub(crate) fn policy(&self) -> Policy {
        for key in self.0["policy"].as_object().expect("a policy").keys() {
            let known = [
                "te",
                "te_connection_option",
                "upgrade",
                "protected",
                "malformed",
                "max_nominations",
                "proxy_auth",
                "trailer",
                "alt_svc",
                "via",
                "via_h2",
                "max_forwards",
                "max_forwards_max",
                "transfer_codings",
            ];
            assert!(known.contains(&key.as_str()), "unknown knob {key}");
        }
        let max = self.knob("max_nominations").and_then(Value::as_u64);
        let policy = Policy::gateway()
            .upgrades(match self.knob_text("upgrade") {
                None | Some("deny") => Upgrades::Deny,
                Some("websocket") => Upgrades::WebSocket,
                Some("any") => Upgrades::Any,
                other => panic!("{other:?}"),
            })
            .te(match self.knob_text("te") {
                None | Some("trailers") => Te::Trailers,
                Some("strip") => Te::Strip,
                other => panic!("{other:?}"),
            })
            .te_option(
                self.knob("te_connection_option")
                    .is_none_or(|knob| knob.as_bool().expect("a bool")),
            )
            .protected_names(match self.knob_text("protected") {
                None | Some("ignore") => ProtectedNames::Ignore,
                Some("reject") => ProtectedNames::Reject,
                Some("none") => ProtectedNames::Honour,
                other => panic!("{other:?}"),
            })
            .malformed_options(match self.knob_text("malformed") {
                None | Some("ignore") => MalformedOptions::Ignore,
                Some("reject") => MalformedOptions::Reject,
                other => panic!("{other:?}"),
            })
            .max_options(max.map(|max| max.try_into().expect("small")))
            .proxy_auth(match self.knob_text("proxy_auth") {
                None | Some("strip") => ProxyAuth::Strip,
                Some("keep") => ProxyAuth::Relay,
                other => panic!("{other:?}"),
            })
            .trailers(match self.knob_text("trailer") {
                None | Some("keep") => Trailers::Keep,
                Some("strip") => Trailers::Strip,
                other => panic!("{other:?}"),
            })
            .strip_alt_svc(self.knob_text("alt_svc") == Some("strip"))
            .transfer_codings(match self.knob_text("transfer_codings") {
                None | Some("any") => TransferCodings::Any,
                Some("chunked_only") => TransferCodings::ChunkedOnly,
                other => panic!("{other:?}"),
            });
        if self.direction() == "request" {
            policy.outbound(self.version("out_version"))
        } else {
            policy
        }
    }

    /// Compares by the vectors' reading rules.
    pub(crate) fn assert_fields(&self, got: &HeaderMap) {
        let mut expected = normal(&self.headers("expected"));
        let mut got = normal(got);
        expected.sort();
        got.sort();
        assert_eq!(got, expected, "{}", self.name());
    }
}

/// Lines of a name in order; Connection, TE, Upgrade and Via as lists, Connection as a set.
fn normal(headers: &HeaderMap) -> Vec<(String, Vec<Vec<u8>>)> {
    let normal = |name: &HeaderName| {
        let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let lower = matches!(name.as_str(), "connection" | "te" | "upgrade");
        let mut values: Vec<Vec<u8>> = if lower || name == "via" {
            lines
                .flat_map(tower_conn_core::options::members)
                .map(|member| {
                    if lower {
                        member.to_ascii_lowercase()
                    } else {
                        member.to_vec()
                    }
                })
                .collect()
        } else {
            lines.map(<[u8]>::to_vec).collect()
        };
        if name == "connection" {
            values.sort();
        }
        (name.as_str().to_owned(), values)
    };
    headers.keys().map(normal).collect()
}
