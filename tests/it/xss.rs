//! The page shows everything agents write as text, from every column.
//!
//! The columns are read from the database's schema, so that a new one is covered.

use serde_json::{Value, json};

use crate::support::TestHub;
use crate::support::chromium::Page;

/// Texts that run code in some browser if they are used as markup, a link, a template or a style. The
/// function `pwn` records it.
const PAYLOADS: [&str; 14] = [
    "<img src=x onerror=pwn()>",
    "<svg onload=pwn()><script>pwn()</script></svg>",
    "<script>pwn()</script>",
    "javascript:pwn()",
    "[link](javascript:pwn()) ![image](javascript:pwn())",
    "</title></textarea></script><script>pwn()</script>",
    "data:text/html,<script>pwn()</script>",
    "&lt;img src=x onerror=pwn()&gt; &#60;script&#62;pwn()",
    "${pwn()} {{pwn()}} #{pwn()}",
    "<style>*{background:url(javascript:pwn())}</style>",
    "<iframe srcdoc=\"<script>parent.pwn()</script>\"></iframe>",
    "\" onmouseover=\"pwn()\" onfocus=\"pwn()\" autofocus x=\"",
    "<a href=\"javascript:pwn()\">x</a><base href=\"//evil.test/\"><form action=\"//evil.test/\"><input name=a>",
    "`'\"><object data=\"javascript:pwn()\"></object>",
];

/// Runs before the page's own scripts: records violations of the content security policy.
const WATCH: &str = "window.violations = []; window.pwn = () => { window.caught = true };\
    addEventListener('securitypolicyviolation', e => violations.push([e.violatedDirective, e.blockedURI, e.sourceFile].join(' ')));";

/// Lists elements and attributes that a payload may have become. The page itself has an icon twice.
const MARKUP: &str = "[...document.querySelectorAll('*')].filter(e => !e.matches('head > link, img[src^=favicon]')).filter(e => \
    ['IMG', 'IFRAME', 'OBJECT', 'EMBED', 'BASE'].includes(e.tagName) || (e.tagName === 'SCRIPT' && !e.src) \
    || (e.tagName === 'STYLE' && e.closest('main, dialog')) || e.hasAttribute('action') \
    || [...e.attributes].some(a => /^on/i.test(a.name) || (/^(href|src|data|xlink:href)$/i.test(a.name) && /^(javascript|data|\\/\\/)/i.test(a.value.trim()))) \
    ).map(e => e.outerHTML.slice(0, 200))";

/// Returns the text columns of a table.
fn text_columns(hub: &TestHub, table: &str) -> Vec<String> {
    let columns = hub.sql(&format!(
        "SELECT name FROM pragma_table_info('{table}') WHERE type = 'TEXT' ORDER BY cid"
    ));
    columns.lines().map(str::to_owned).collect()
}

/// Returns an INSERT with the payload in every text column except those `given`.
fn insert(hub: &TestHub, table: &str, payload: &str, given: &[(&str, &str)]) -> String {
    let quoted = payload.replace('\'', "''");
    let columns = text_columns(hub, table);
    assert!(!columns.is_empty(), "{table}");
    let values = columns.iter().map(|column| {
        let given = given.iter().find(|(name, _)| name == column);
        given.map_or_else(
            || format!("'{quoted}'"),
            |(_, value)| format!("'{}'", value.replace('\'', "''")),
        )
    });
    let values: Vec<String> = values.collect();
    format!(
        "INSERT INTO {table}({}) VALUES({});\n",
        columns.join(", "),
        values.join(", ")
    )
}

/// Returns INSERTs for every table with one payload: in all columns, and again with the values that
/// make the page show each kind of row.
fn rows(hub: &TestHub, i: usize, payload: &str) -> String {
    let mut sql = insert(hub, "threads", payload, &[]);
    sql += &insert(hub, "messages", payload, &[]);
    for kind in ["directive", "question", "proposal", "status", "result"] {
        let id = format!("{kind} {i} {payload}");
        let context = json!({"workspace": payload, "target_agent": payload}).to_string();
        let given = [("id", id.as_str()), ("kind", kind), ("metadata_json", &context)];
        sql += &insert(hub, "messages", payload, &given);
    }
    sql += &insert(hub, "inbox_messages", payload, &[]);
    for kind in ["request", "approval_request", "response", "notification"] {
        let ids = [format!("a {kind} {i} {payload}"), format!("b {kind} {i} {payload}")];
        let given = [
            ("id", ids[0].as_str()),
            ("message_id", &ids[1]),
            ("message_type", kind),
            ("to_inbox", "human"),
            ("status", "unread"),
            ("priority", "urgent"),
        ];
        sql += &insert(hub, "inbox_messages", payload, &given);
        sql += &insert(hub, "receipts", payload, &[("message_id", &ids[1]), ("state", "seen")]);
    }
    sql += &insert(hub, "telemetry", payload, &[]);
    sql += &insert(hub, "telemetry", &format!("{i} {payload}"), &[("status", "running")]);
    sql += &insert(hub, "task_stream", payload, &[]);
    for kind in [
        "turn_start",
        "text",
        "tool_use",
        "tool_result",
        "turn_end",
        "error",
        "status",
    ] {
        sql += &insert(hub, "task_stream", payload, &[("stream_type", kind)]);
    }
    let quoted = payload.replace('\'', "''");
    let states = text_columns(hub, "agents").into_iter().filter(|column| column != "id");
    let states: Vec<String> = states.map(|column| format!("{column} = '{quoted}'")).collect();
    sql += &format!("UPDATE agents SET {} WHERE id = '{quoted}';\n", states.join(", "));
    sql += &insert(hub, "subscriptions", payload, &[]);
    sql
}

/// Opens a view, waits until it is drawn, and checks that no payload became markup or ran.
#[track_caller]
fn visit(page: &mut Page, view: &str, shown: bool) {
    page.eval(&format!("location.hash = {}", json!(view)));
    if shown {
        page.wait_for("document.querySelector('main').textContent.includes('pwn()')");
    }
    page.eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))");
    assert_eq!(page.eval(MARKUP), json!([]), "{view}");
    // Handlers of pointer and focus events.
    page.eval("document.querySelectorAll('main *').forEach(e => { e.dispatchEvent(new Event('mouseover')); e.dispatchEvent(new Event('focus')); })");
    assert_eq!(page.eval("window.caught === undefined"), json!(true), "{view}");
    assert_eq!(page.eval("window.violations"), json!([]), "{view}");
}

fn encoded(text: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// The page acts for the person: an agent, or an author whose text an agent repeats, must not run code in it.
#[test]
fn agents_texts_never_become_markup_or_code() {
    let hub = TestHub::start();
    let mut page = Page::start();
    page.run_before_load(WATCH);
    let sql: String = PAYLOADS
        .iter()
        .enumerate()
        .map(|(i, payload)| rows(&hub, i, payload))
        .collect();
    hub.sql(&sql);
    page.open(&hub.page_link());
    page.wait_for("document.getElementById('pill').dataset.state === 'live'");
    assert_eq!(page.eval("Array.isArray(window.violations)"), json!(true));
    let links = page.eval("[...document.querySelectorAll('[data-view]')].map(a => a.dataset.view)");
    let views: Vec<&str> = links.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(views.len() >= 5 && views.contains(&"inbox"), "{views:?}");
    for view in &views {
        visit(&mut page, &format!("#/{view}"), !["costs", "setup"].contains(view));
    }
    for view in [
        "#/costs",
        "#/setup",
        "#/inbox/*",
        "#/inbox/human?show=all",
        "#/tasks?q=pwn",
    ] {
        visit(&mut page, view, false);
    }
    for (i, payload) in PAYLOADS.iter().enumerate() {
        visit(&mut page, &format!("#/threads/{}", encoded(payload)), true);
        visit(&mut page, &format!("#/tasks/{}", encoded(payload)), true);
        visit(&mut page, &format!("#/inbox/{}", encoded(payload)), true);
        let mail = encoded(&format!("a approval_request {i} {payload}"));
        visit(&mut page, &format!("#/inbox/human/{mail}"), true);
        // Views that do not exist.
        visit(
            &mut page,
            &format!("#/{}/{}", encoded(payload), encoded(payload)),
            false,
        );
    }
    // Search results, and rows that arrive while the page is open.
    page.eval("document.getElementById('find').click()");
    page.eval(
        "(() => { const input = document.querySelector('dialog[open] input'); input.value = 'pwn'; \
         input.dispatchEvent(new Event('input', { bubbles: true })); })()",
    );
    page.wait_for("document.querySelector('dialog[open]').textContent.includes('pwn()')");
    assert_eq!(page.eval(MARKUP), json!([]), "search results contain no markup");
    page.eval("document.querySelector('dialog[open]').close()");
    visit(&mut page, "#/now", true);
    let later: String = PAYLOADS
        .iter()
        .map(|payload| insert(&hub, "messages", payload, &[("id", &format!("later {payload}"))]))
        .collect();
    hub.sql(&later);
    visit(&mut page, "#/now", true);
    assert_eq!(page.console_errors, Vec::<String>::new());
}
