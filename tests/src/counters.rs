//! What `l2xdp show --json` counts.

use std::collections::BTreeMap;

use serde_json::Value;

/// Counters by name.
pub type Counters = BTreeMap<String, u64>;

/// The counters of the session with this id, on both paths together.
pub fn of_session(shown: &Value, session_id: u32) -> Option<Counters> {
    find_session(shown, session_id).map(all)
}

/// The counters of a session on one path, `fast` or `slow`.
pub fn of_path(shown: &Value, session_id: u32, path: &str) -> Option<Counters> {
    find_session(shown, session_id)?.get(path).map(all)
}

/// All counters below a value; those of one name are summed up.
pub fn all(value: &Value) -> Counters {
    let mut counters = Counters::new();
    collect(value, &mut counters);
    counters
}

/// What is shown of the session with this id.
pub fn find_session(value: &Value, session_id: u32) -> Option<&Value> {
    match value {
        Value::Object(object) if object.get("session_id") == Some(&session_id.into()) => Some(value),
        Value::Object(object) => object.values().find_map(|value| find_session(value, session_id)),
        Value::Array(array) => array.iter().find_map(|value| find_session(value, session_id)),
        _ => None,
    }
}

fn collect(value: &Value, counters: &mut Counters) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value.as_u64() {
                    Some(count) => *counters.entry(name.clone()).or_default() += count,
                    None => collect(value, counters),
                }
            }
        }
        Value::Array(array) => array.iter().for_each(|value| collect(value, counters)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_is_found_by_its_id_and_its_paths_are_summed_up() {
        let session = |id: u32, sent: u32| json!({"session_id": id, "fast": {"tx_packets": sent}, "slow": {"tx_packets": 1}});
        let shown = json!({"tunnels": [{"tunnel_id": 1, "sessions": [session(3, 30), session(4, 40)]}]});
        assert_eq!(of_session(&shown, 4).unwrap()["tx_packets"], 41);
        assert!(of_session(&shown, 5).is_none());
        assert_eq!(of_path(&shown, 4, "fast").unwrap()["tx_packets"], 40);
        assert_eq!(all(&shown)["tx_packets"], 72);
    }
}
