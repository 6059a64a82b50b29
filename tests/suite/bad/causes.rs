//! The history: what each generation changed, and why, by the settings of the manifest.

use super::home::{Home, port, web};
use serde_json::Value;

#[test]
fn the_history_names_the_settings_that_a_generation_changed() {
    let home = Home::new();
    let port = port();
    for answer in ["one", "two"] {
        home.manifest(&format!("services:\n{}", web("web", port, answer, "")));
        home.expect(0, &["apply", "--yes"]);
    }
    let cause = |line: &str| line.contains("services.web.env.") && line.contains("one → two");
    let (history, shown) = (home.expect(0, &["history"]), home.expect(0, &["show", "2"]));
    assert!(history.out.lines().any(cause), "{history}");
    assert!(history.out.contains("1 created"), "{history}");
    assert!(shown.out.lines().any(|line| line.trim_start().starts_with('~') && cause(line)), "{shown}");
    let document: Value = serde_json::from_str(&home.expect(0, &["history", "--json"]).out).expect("JSON");
    let change = &document["generations"][1]["changes"][0];
    assert_eq!((&change["verb"], &change["on"]), (&"change".into(), &"process/web".into()), "{document}");
    let setting = &change["causes"][0]["setting"];
    assert_eq!((&setting["before"], &setting["after"]), (&"one".into(), &"two".into()), "{document}");
}
