//! External parts that are off: reported, and blocking nothing.

use super::home::{Home, answer, port, web};

#[test]
fn an_external_part_that_is_off_is_reported_and_blocks_nothing() {
    let home = Home::new();
    let (page, off) = (port(), port());
    let manifest = |text: &str| {
        home.manifest(&format!(
            "providers:\n  lan: {{engine: ollama, runtime: external, endpoint: \"http://127.0.0.1:{off}\"}}\nmodels:\n  \
             tiny: {{provider: lan}}\ncache: {{engine: redis, runtime: external, endpoint: \"127.0.0.1:{off}\"}}\n\
             services:\n{}",
            web("page", page, text, "")
        ));
    };
    manifest("one");
    let warned = ["warning: `providers.lan` at http://127.0.0.1:", "warning: `cache` at redis://127.0.0.1:", "refused"];
    home.expect(0, &["plan"]).has(&warned);
    home.expect(0, &["apply", "--yes"]);
    assert_eq!(answer(page).as_deref(), Some("one"));
    home.expect(0, &["plan"]).has(&["Nothing to do"]).has(&warned);
    home.expect(2, &["status"]).has(&["healthy", "unhealthy providers.lan at http://", "connection refused"]);
    let json = home.expect(2, &["status", "--json"]).out;
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&status["externals"][1]["role"], &status["healthy"]), (&"cache".into(), &false.into()));
    assert_eq!(status["drift"], serde_json::json!([]), "nothing has drifted");

    // What is saved is not out of date because of them, and the rest goes on changing.
    manifest("two");
    home.expect(0, &["plan", "-o", "saved.plan"]);
    home.expect(0, &["apply", "saved.plan"]);
    assert_eq!(answer(page).as_deref(), Some("two"));
}
