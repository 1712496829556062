//! The reference of all keys, in lines or as JSON.

use serde_json::{Value, json};

use crate::config::schema::{KEYS, Key, Preset};

/// Returns the reference of all keys, for people.
#[must_use]
pub fn keys_text() -> String {
    let mut text = String::new();
    for key in KEYS {
        text.push_str(&format!("{} ({})\n", key.path, key.rule.type_name()));
        text.push_str(&format!("    {}\n", key.meaning));
        text.push_str(&format!("    allowed: {}\n", key.rule.allowed()));
        text.push_str(&format!("    default: {}\n", default_text(key)));
        if let Some(link_type) = key.link_type {
            text.push_str(&format!("    only in links of type \"{link_type}\"\n"));
        }
    }
    text
}

pub(super) fn keys_json() -> Value {
    let keys = KEYS.iter().map(|key| {
        json!({
            "key": key.path,
            "type": key.rule.type_name(),
            "allowed": key.rule.allowed(),
            "default": key.default.toml(),
            "required": key.default == Preset::Required,
            "link_type": key.link_type,
            "meaning": key.meaning,
        })
    });
    keys.collect()
}

fn default_text(key: &Key) -> String {
    match key.default {
        Preset::Required => "none, it must be there".to_owned(),
        Preset::Nothing => "none".to_owned(),
        Preset::Empty => "empty".to_owned(),
        _ => key.default.toml().unwrap_or_default(),
    }
}
