//! The reference of all keys, in lines or as JSON.

use serde_json::{Value, json};

use crate::config::schema::{Applies, Fallback, KEYS, Key};

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
        if key.is_preset {
            text.push_str("    the preset of the link goes before the default\n");
        }
        if key.applies == Applies::AtStart {
            text.push_str("    a change needs a restart\n");
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
            "required": key.default == Fallback::Required,
            "link_type": key.link_type,
            "of_preset": key.is_preset,
            "needs_restart": key.applies == Applies::AtStart,
            "meaning": key.meaning,
        })
    });
    keys.collect()
}

fn default_text(key: &Key) -> String {
    match key.default {
        Fallback::Required => "none, it must be there".to_owned(),
        Fallback::Nothing => "none".to_owned(),
        Fallback::Empty => "empty".to_owned(),
        _ => key.default.toml().unwrap_or_default(),
    }
}
