use serde_json::{Map, Value, json};

use super::summary::{Summary, known_paths};

/// The JSON schema of `summary.json` (draft 2020-12). A number that was not measured is `null`;
/// later versions may add properties.
pub fn summary_schema() -> Value {
    let mut schema = of_value(&Summary::default().to_json());
    for path in known_paths() {
        let mut here = &mut schema;
        for name in path.split('.') {
            if here["type"] == "array" {
                // Conditions call elements by their names.
                break;
            }
            if !here["properties"].is_object() {
                *here = json!({ "type": ["object", "null"], "properties": {} });
            }
            let properties = here["properties"].as_object_mut().expect("it was made one");
            let number = || json!({ "type": ["number", "null"] });
            here = properties.entry(name).or_insert_with(number);
        }
    }
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "resetstorm summary".into();
    schema
}

fn of_value(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let property = |(name, value): (&String, &Value)| (name.clone(), of_value(value));
            let properties: Map<String, Value> = fields.iter().map(property).collect();
            json!({ "type": "object", "properties": properties })
        }
        Value::Array(_) => json!({ "type": "array" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(_) => json!({ "type": ["number", "null"] }),
        Value::Null => json!({}),
    }
}
