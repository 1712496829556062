//! Every key with the value that holds.

use serde_json::{Value, json};

use crate::config::Values;

pub(super) fn values_text(values: &Values) -> String {
    let mut text = String::new();
    for held in values.iter() {
        let origin = if held.is_written {
            ""
        } else {
            "  # not written"
        };
        text.push_str(&format!("{} = {}{origin}\n", held.key, held.value));
    }
    text
}

pub(super) fn values_json(values: &Values) -> Value {
    let list = values
        .iter()
        .map(|held| json!({ "key": held.key, "value": held.value, "written": held.is_written }));
    json!({ "values": list.collect::<Value>() })
}
