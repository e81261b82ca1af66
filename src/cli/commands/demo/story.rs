//! The story: six agents add a discount to a shop. `planner` divides the work, `backend` and `frontend` do it,
//! `frontend` fails and `tester` takes over, `reviewer` sends findings back, `ops` looks after the servers. The
//! person is asked twice.
//!
//! To extend it, add steps to a script, or a script for a new agent. An agent that waits for mail names its key; a
//! test checks that every answer of the person leads to the end of the round.

use super::script::{
    Agent, Choice, Mail, Price, Question, Script, Step, Story, Tool, ask, await_failure, call, delegate, done, fail,
    failing_call, post, prompt, read, say, send,
};

pub(super) const STORY: Story = Story {
    agents: AGENTS,
    threads: &[
        ("{slug}", "Checkout: {feature}"),
        ("staging", "Staging and its alarms"),
        ("releases", "Releases"),
    ],
    scripts: &[
        Script {
            agent: "planner",
            steps: PLANNER,
        },
        Script {
            agent: "backend",
            steps: BACKEND,
        },
        Script {
            agent: "frontend",
            steps: FRONTEND,
        },
        Script {
            agent: "tester",
            steps: TESTER,
        },
        Script {
            agent: "reviewer",
            steps: REVIEWER,
        },
        Script {
            agent: "ops",
            steps: OPS,
        },
    ],
    variations: VARIATIONS,
};

const VARIATIONS: &[&[(&str, &str)]] = &[
    &[
        ("feature", "voucher codes"),
        ("slug", "voucher-codes"),
        ("Type", "Voucher"),
        ("field", "voucher"),
        ("issue", "412"),
        ("tests", "214"),
        (
            "failure",
            "429 RESOURCE_EXHAUSTED: the daily quota of gemini-3-pro-preview is used up",
        ),
        ("disk", "92"),
        ("version", "2.14.0"),
    ],
    &[
        ("feature", "gift cards"),
        ("slug", "gift-cards"),
        ("Type", "GiftCard"),
        ("field", "gift_card"),
        ("issue", "431"),
        ("tests", "231"),
        ("failure", "503 UNAVAILABLE: the model is overloaded (10 attempts)"),
        ("disk", "95"),
        ("version", "2.15.0"),
    ],
    &[
        ("feature", "bundle discounts"),
        ("slug", "bundle-discounts"),
        ("Type", "Bundle"),
        ("field", "bundle"),
        ("issue", "447"),
        ("tests", "246"),
        ("failure", "400 INVALID_ARGUMENT: the input exceeds 1048576 tokens"),
        ("disk", "91"),
        ("version", "2.16.0"),
    ],
    &[
        ("feature", "loyalty points"),
        ("slug", "loyalty-points"),
        ("Type", "Points"),
        ("field", "points"),
        ("issue", "458"),
        ("tests", "259"),
        (
            "failure",
            "429 RESOURCE_EXHAUSTED: too many requests in a minute (10 attempts)",
        ),
        ("disk", "94"),
        ("version", "2.17.0"),
    ],
];

// ---- the agents ----

const CLAUDE_CODE: Tool = Tool {
    id: "claude",
    mcp_prefix: "mcp__agenthub__",
};
const CODEX: Tool = Tool {
    id: "codex",
    mcp_prefix: "mcp__agenthub__",
};
const GEMINI_CLI: Tool = Tool {
    id: "gemini",
    mcp_prefix: "mcp_agenthub_",
};
const QWEN_CODE: Tool = Tool {
    id: "qwen",
    mcp_prefix: "mcp__agenthub__",
};
const OPENCODE: Tool = Tool {
    id: "opencode",
    mcp_prefix: "agenthub_",
};

const API: &str = "/home/ada/src/shop-api";
const WEB: &str = "/home/ada/src/shop-web";
const INFRA: &str = "/home/ada/src/infra";

const AGENTS: &[Agent] = &[
    Agent {
        name: "planner",
        tool: &CLAUDE_CODE,
        model: "claude-opus-4-5",
        workspace: API,
        price: Price {
            input: 5.0,
            cached: 0.5,
            output: 25.0,
        },
    },
    Agent {
        name: "backend",
        tool: &CODEX,
        model: "gpt-5.1-codex",
        workspace: API,
        price: Price {
            input: 1.25,
            cached: 0.125,
            output: 10.0,
        },
    },
    Agent {
        name: "frontend",
        tool: &GEMINI_CLI,
        model: "gemini-3-pro-preview",
        workspace: WEB,
        price: Price {
            input: 2.0,
            cached: 0.2,
            output: 12.0,
        },
    },
    Agent {
        name: "tester",
        tool: &QWEN_CODE,
        model: "qwen3-coder-plus",
        workspace: WEB,
        price: Price {
            input: 1.0,
            cached: 0.1,
            output: 5.0,
        },
    },
    Agent {
        name: "reviewer",
        tool: &CLAUDE_CODE,
        model: "claude-sonnet-4-5",
        workspace: API,
        price: Price {
            input: 3.0,
            cached: 0.3,
            output: 15.0,
        },
    },
    Agent {
        name: "ops",
        tool: &OPENCODE,
        model: "claude-haiku-4-5",
        workspace: INFRA,
        price: Price {
            input: 1.0,
            cached: 0.1,
            output: 5.0,
        },
    },
];

// ---- planner: Claude Code in shop-api, on main ----

const PLANNER: &[Step] = &[
    prompt("Ship {feature} (#{issue}): plan it, divide the work between the agents, and release it once it is reviewed."),
    say("I will read the issue and the cart first, then divide the work."),
    call(
        "mcp__github__get_issue",
        2.0,
        r#"{"owner": "acme", "repo": "shop-api", "issue_number": {issue}}"#,
        r#"{"number": {issue}, "state": "open", "title": "Support {feature} at the checkout", "labels": ["checkout"], "body": "Customers want to use {feature}. The total must never fall below zero, and prices stay integer cents."}"#,
    ),
    call(
        "Read",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-api/src/cart/total.rs", "offset": 1, "limit": 12}"#,
        "     1\tuse crate::cart::{Cart, Item};\n     2\tuse crate::money::Cents;\n     3\t\n     4\t/// Returns the price of all items, before shipping.\n     5\tpub fn total(cart: &Cart) -> Cents {\n     6\t    cart.items.iter().map(|item| item.price * item.count).sum()\n     7\t}\n     8\t\n     9\tpub fn with_shipping(cart: &Cart) -> Cents {\n    10\t    total(cart) + cart.shipping\n    11\t}\n    12\t",
    ),
    say("`total` has no place for a reduction yet. A subagent looks for every caller, so that none is forgotten."),
    delegate(
        "Task",
        r#"{"subagent_type": "Explore", "description": "Find callers of total", "prompt": "Find every place that computes or shows the total of a cart. Report file, line, and whether it includes shipping."}"#,
        "Three callers:\n- src/checkout/pay.rs:41 (with shipping)\n- src/checkout/summary.rs:18 (without)\n- src/mail/receipt.rs:77 (with shipping)",
        &[
            call(
                "Grep",
                1.5,
                r#"{"pattern": "total\\(|with_shipping\\(", "path": "src", "output_mode": "content", "-n": true}"#,
                "src/checkout/pay.rs:41:    let due = with_shipping(&cart);\nsrc/checkout/summary.rs:18:    let sum = total(&cart);\nsrc/mail/receipt.rs:77:    let paid = with_shipping(&order.cart);",
            ),
            call(
                "Read",
                1.0,
                r#"{"file_path": "/home/ada/src/shop-api/src/checkout/pay.rs", "offset": 38, "limit": 6}"#,
                "    38\tpub async fn pay(cart: Cart, card: Card) -> Result<Receipt> {\n    39\t    cart.check_stock().await?;\n    40\t    // The amount that the card is charged.\n    41\t    let due = with_shipping(&cart);\n    42\t    let charge = card.charge(due).await?;\n    43\t    Ok(Receipt::of(cart, charge))",
            ),
            call(
                "Read",
                1.0,
                r#"{"file_path": "/home/ada/src/shop-api/src/mail/receipt.rs", "offset": 75, "limit": 4}"#,
                "    75\tfn lines(order: &Order) -> Vec<String> {\n    76\t    let mut lines = item_lines(order);\n    77\t    let paid = with_shipping(&order.cart);\n    78\t    lines.push(format!(\"Paid: {paid}\"));",
            ),
        ],
    )
    .after(1.5),
    say("The plan:\n\n1. **backend** adds `{Type}` to the cart and reduces the total (`shop-api`, branch `feat/{slug}`)\n2. **frontend** adds the field to the checkout form (`shop-web`, branch `feat/{slug}`)\n3. **reviewer** reads both\n4. **ops** releases {version}\n\nThe API is first: the form needs its error codes."),
    send(Mail {
        key: "api",
        to: "backend",
        kind: "handoff",
        priority: "action",
        title: "{Type} in the cart API",
        text: "Please add {feature} to the cart (#{issue}), on the branch `feat/{slug}`.\n\n- [ ] `{Type}` with its amount in integer cents\n- [ ] the total is never below zero\n- [ ] error codes `unknown`, `expired` and `used`\n\nCallers of `total` are in `checkout/pay.rs`, `checkout/summary.rs` and `mail/receipt.rs`.",
    }),
    send(Mail {
        key: "web",
        to: "frontend",
        kind: "handoff",
        priority: "action",
        title: "Field for {feature} in the checkout form",
        text: "Please add a field for {feature} to `CheckoutForm.tsx`, on the branch `feat/{slug}` of `shop-web`. The API answers with `unknown`, `expired` or `used`; show a sentence for each.",
    }),
    post("{slug}", "directive", "Work on #{issue} begins. backend: the API. frontend: the form. Branch `feat/{slug}` in both repositories."),
    read("disk-alarm"),
    post("staging", "status", "Seen. ops decides with the person; the release waits for it."),
    await_failure("frontend-failed"),
    call(
        "Bash",
        1.0,
        r#"{"command": "agenthub agents", "description": "List the agents and their states"}"#,
        "name      state    working in\nbackend   running  ~/src/shop-api\nfrontend  error    ~/src/shop-web\ntester    idle     ~/src/shop-web\nops       running  ~/src/infra",
    ),
    say("`frontend` has ended with an error: {failure}. Its commits are on the branch, and `tester` works in the same repository and is idle. It takes over."),
    send(Mail {
        key: "takeover",
        to: "tester",
        kind: "handoff",
        priority: "urgent",
        title: "Take over the form from frontend",
        text: "frontend has stopped in the middle of its work:\n\n> {failure}\n\nPlease finish `feat/{slug}` in `shop-web`: the field exists, the sentences for `expired` and `used` do not. Run the browser tests before you report.",
    }),
    post("{slug}", "status", "tester takes over the form from frontend."),
    read("flaky"),
    read("api-done"),
    send(Mail {
        key: "review",
        to: "reviewer",
        kind: "request",
        priority: "action",
        title: "Review {feature}",
        text: "Please review `feat/{slug}` in `shop-api`. Look at rounding and at two requests at the same time.",
    }),
    read("web-done"),
    read("approved"),
    say("Both branches are reviewed and green. Whether customers see it today is not my decision."),
    ask(Question {
        key: "release",
        title: "How do we release {version}?",
        text: "{feature} are ready: {tests} tests pass, the review is done. How do we release {version}?\n\n1. **today**, for all customers\n2. **flag**: today, for 5 % of the customers\n3. **monday**: staging only until then\n\nReply with a number or a word.",
        permission: None,
        wait: 50.0,
        choices: &[
            Choice {
                words: &["1", "today", "all"],
                steps: &[
                    say("The person says: “{answer}”. All customers get it today."),
                    send(release("Release {version} for all customers", "Please deploy {version} to production. The person has decided: today, for all customers.")),
                ],
            },
            Choice {
                words: &["2", "flag", "5"],
                steps: &[
                    say("The person says: “{answer}”. The flag starts with 5 %."),
                    send(release("Release {version} behind a flag", "Please deploy {version} to production with `{field}_enabled=5%`. The person wants a flag first.")),
                ],
            },
            Choice {
                words: &["3", "monday", "wait", "no", "later"],
                steps: &[
                    say("The person says: “{answer}”. Production waits; staging does not."),
                    send(release("Deploy {version} to staging only", "Please deploy {version} to staging. Production waits until Monday: the person has decided so.")),
                ],
            },
            Choice {
                words: &[],
                steps: &[
                    say("The person says: “{answer}”. That names none of the three, so I take the careful one: staging only, with this note."),
                    send(release("Deploy {version} to staging only", "Please deploy {version} to staging. The person has written: “{answer}”.")),
                ],
            },
        ],
        silence: &[
            say("No answer yet. Staging needs no decision, so I go on with it and leave production for later."),
            send(release("Deploy {version} to staging only", "Please deploy {version} to staging. The decision about production is still open.")),
        ],
    }),
    send(Mail {
        key: "freeze",
        to: "all",
        kind: "info",
        priority: "info",
        title: "Release {version}: please push nothing to main",
        text: "ops deploys {version} now. Please push nothing to `main` of `shop-api` and `shop-web` until the report is in the thread *releases*.",
    }),
    read("deployed"),
    post("releases", "result", "{version} is out. Thanks to backend, tester, reviewer and ops."),
    send(Mail {
        key: "report",
        to: "human",
        kind: "completion",
        priority: "info",
        title: "{version}: {feature}",
        text: "**{feature}** are done (#{issue}).\n\n| repository | branch | result |\n|---|---|---|\n| `shop-api` | `feat/{slug}` | merged, {tests} tests |\n| `shop-web` | `feat/{slug}` | merged by tester, after frontend had failed |\n| `infra` | `main` | deployed |\n\nOne thing is left: the receipt shows the reduction without the tax. I have opened an issue for it.",
    }),
    done(),
];

const fn release(title: &'static str, text: &'static str) -> Mail {
    Mail {
        key: "deploy",
        to: "ops",
        kind: "handoff",
        priority: "action",
        title,
        text,
    }
}

// ---- backend: Codex in shop-api, on feat/{slug} ----

const BACKEND: &[Step] = &[
    read("api"),
    prompt("Add {feature} to the cart API on the branch feat/{slug}, as planner's mail says."),
    say("I create the branch, then read the cart and its tests."),
    call(
        "shell",
        1.0,
        r#"{"command": "git switch -c feat/{slug}"}"#,
        "Switched to a new branch 'feat/{slug}'",
    ),
    call(
        "shell",
        1.0,
        r#"{"command": "rg -n 'struct Cart' -A 8 src/cart/mod.rs"}"#,
        "12:pub struct Cart {\n13-    pub items: Vec<Item>,\n14-    pub shipping: Cents,\n15-    pub currency: Currency,\n16-}",
    ),
    say("The reduction is a field of `Cart`, so that all three callers get it:\n\n```rust\npub struct {Type} {\n    pub code: String,\n    /// At most the total of the items.\n    pub amount: Cents,\n}\n```\n\nNow the change."),
    call(
        "apply_patch",
        1.5,
        r#"{"changes": [{"path": "/home/ada/src/shop-api/src/cart/{field}.rs", "kind": "add"}, {"path": "/home/ada/src/shop-api/src/cart/total.rs", "kind": "update"}]}"#,
        "completed",
    ),
    failing_call(
        "shell",
        9.0,
        r#"{"command": "cargo test --color always cart::"}"#,
        "   \x1b[1m\x1b[32mCompiling\x1b[0m shop-api v2.13.0 (/home/ada/src/shop-api)\n    \x1b[1m\x1b[32mFinished\x1b[0m `test` profile in 6.84s\n\nrunning 31 tests\ntest cart::total_of_items ... \x1b[32mok\x1b[0m\ntest cart::{field}_reduces_total ... \x1b[32mok\x1b[0m\ntest cart::{field}_above_total ... \x1b[31mFAILED\x1b[0m\n\n---- cart::{field}_above_total ----\nassertion `left == right` failed\n  left: Cents(-350)\n right: Cents(0)\n\ntest result: \x1b[31mFAILED\x1b[0m. 30 passed; 1 failed",
        "exit code 101",
    ),
    say("`Cents` is signed, so the subtraction goes below zero. The amount must be limited to the total."),
    call(
        "Edit",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-api/src/cart/total.rs", "old_string": "pub fn total(cart: &Cart) -> Cents {\n    items(cart) - cart.{field}.amount\n}", "new_string": "pub fn total(cart: &Cart) -> Cents {\n    let items = items(cart);\n    items - cart.{field}.amount.min(items)\n}"}"#,
        "The file src/cart/total.rs has been updated.",
    ),
    call(
        "shell",
        10.0,
        r#"{"command": "cargo test --color always"}"#,
        "    \x1b[1m\x1b[32mFinished\x1b[0m `test` profile in 7.02s\n     \x1b[1m\x1b[32mRunning\x1b[0m unittests src/lib.rs\n\ntest result: \x1b[32mok\x1b[0m. {tests} passed; 0 failed; finished in 4.31s",
    ),
    post("{slug}", "status", "API: the total is reduced and never below zero. Error codes are next."),
    say("Next: the three error codes, each with a test."),
    call(
        "Write",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-api/src/cart/{field}_error.rs", "content": "/// Why a code is refused.\n#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]\n#[serde(rename_all = \"snake_case\")]\npub enum {Type}Error {\n    Unknown,\n    Expired,\n    Used,\n}\n"}"#,
        "File created: src/cart/{field}_error.rs",
    ),
    call(
        "shell",
        12.0,
        r#"{"command": "cargo clippy --all-targets -- -D warnings && cargo test --color always {field}"}"#,
        "    \x1b[1m\x1b[32mFinished\x1b[0m `dev` profile in 5.90s\n\nrunning 9 tests\ntest {field}::expired ... \x1b[32mok\x1b[0m\ntest {field}::unknown ... \x1b[32mok\x1b[0m\ntest {field}::used_twice ... \x1b[32mok\x1b[0m\n\ntest result: \x1b[32mok\x1b[0m. 9 passed; 0 failed",
    )
    .after(4.0),
    call(
        "shell",
        3.0,
        r#"{"command": "git commit -qam 'Cart: {feature}' && git push -u origin feat/{slug}"}"#,
        "To github.com:acme/shop-api.git\n * [new branch]      feat/{slug} -> feat/{slug}",
    ),
    send(Mail {
        key: "api-done",
        to: "planner",
        kind: "response",
        priority: "info",
        title: "The API is ready",
        text: "`feat/{slug}` is pushed. All boxes are ticked:\n\n- [x] integer cents\n- [x] never below zero (a test failed before)\n- [x] `unknown`, `expired`, `used`",
    }),
    post("{slug}", "result", "API is ready on `feat/{slug}`. frontend, tester: the error codes are in `cart/{field}_error.rs`."),
    read("findings"),
    say("The second finding is right: two requests can use the same code. A conditional `UPDATE` decides who is first."),
    call(
        "Edit",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-api/src/cart/{field}.rs", "old_string": "    let found = find(db, code).await?;\n    if found.used_at.is_some() {\n        return Err({Type}Error::Used);\n    }\n    mark_used(db, code).await?;", "new_string": "    let marked = sqlx::query(\"UPDATE {field} SET used_at = now() WHERE code = $1 AND used_at IS NULL\")\n        .bind(code)\n        .execute(db)\n        .await?;\n    if marked.rows_affected() == 0 {\n        return Err({Type}Error::Used);\n    }"}"#,
        "The file src/cart/{field}.rs has been updated.",
    ),
    call(
        "shell",
        8.0,
        r#"{"command": "cargo test --color always {field} -- --test-threads 8"}"#,
        "running 11 tests\ntest {field}::two_requests_at_once ... \x1b[32mok\x1b[0m\n\ntest result: \x1b[32mok\x1b[0m. 11 passed; 0 failed; finished in 3.17s",
    ),
    send(Mail {
        key: "fixed",
        to: "reviewer",
        kind: "response",
        priority: "action",
        title: "Fixed: one code, two requests",
        text: "Fixed with a conditional `UPDATE`, and there is a test that starts both requests at once. The receipt stays as it is: planner opens an issue.",
    }),
    done(),
    read("approved-for-backend"),
    prompt("Open an issue for the tax on the receipt, and write the changelog of {version} on the branch feat/{slug}."),
    say("First a test that shows what is wrong with the receipt."),
    failing_call(
        "shell",
        9.0,
        r#"{"command": "cargo test --color always receipt -- --ignored"}"#,
        "running 1 test\ntest receipt::shows_tax_of_reduction ... \x1b[31mFAILED\x1b[0m\n\n  left: \"Tax: 3.80\"\n right: \"Tax: 3.23\"\n\ntest result: \x1b[31mFAILED\x1b[0m. 0 passed; 1 failed",
        "exit code 101",
    )
    .after(4.0),
    call(
        "mcp__github__create_issue",
        2.0,
        r#"{"owner": "acme", "repo": "shop-api", "title": "Receipt: the tax ignores {feature}", "labels": ["receipt"]}"#,
        r#"{"number": {issue}1, "state": "open"}"#,
    )
    .after(5.0),
    say("The issue is open. Now the changelog: one line for customers, one for clients of the API."),
    call(
        "apply_patch",
        1.0,
        r#"{"changes": [{"path": "/home/ada/src/shop-api/CHANGELOG.md", "kind": "update"}]}"#,
        "completed",
    )
    .after(6.0),
    call(
        "shell",
        3.0,
        r#"{"command": "git commit -qam 'Changelog of {version}' && git push -q && git log --oneline -3"}"#,
        "9d04c1e Changelog of {version}\n5e77ab2 Use a code once\n1f3c9d8 Cart: {feature}",
    )
    .after(7.0),
    post("{slug}", "result", "The changelog is on the branch, and issue #{issue}1 is open for the tax on the receipt."),
    done(),
];

// ---- frontend: Gemini CLI in shop-web, on feat/{slug}; fails ----

const FRONTEND: &[Step] = &[
    read("web"),
    prompt("Add a field for {feature} to the checkout form on the branch feat/{slug}, as planner's mail says."),
    say("I begin with the form and its styles."),
    call(
        "run_shell_command",
        1.0,
        r#"{"command": "git switch -c feat/{slug} && git log --oneline -2", "description": "Create the branch"}"#,
        "Switched to a new branch 'feat/{slug}'\n8c1f2aa Checkout: larger buttons\n41b07de Update dependencies",
    ),
    call(
        "read_file",
        1.0,
        r#"{"absolute_path": "/home/ada/src/shop-web/src/checkout/CheckoutForm.tsx", "offset": 20, "limit": 9}"#,
        "export function CheckoutForm({ cart }: Props) {\n  const [email, setEmail] = useState('');\n  return (\n    <form onSubmit={submit}>\n      <Field label=\"E-mail\" value={email} onChange={setEmail} />\n      <Total cart={cart} />\n      <button>Pay</button>\n    </form>\n  );",
    ),
    call(
        "web_fetch",
        3.0,
        r#"{"prompt": "How does a form field announce an error to screen readers? https://developer.mozilla.org/docs/Web/Accessibility/ARIA/Reference/Attributes/aria-errormessage"}"#,
        "Set aria-invalid=\"true\" on the field and aria-errormessage to the id of the element with the message. The message must be visible.",
    ),
    say("The field announces its error with `aria-errormessage`, so the message needs an id."),
    call(
        "replace",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-web/src/checkout/CheckoutForm.tsx", "old_string": "      <Total cart={cart} />", "new_string": "      <Field\n        label=\"{Type}\"\n        value={code}\n        onChange={setCode}\n        error={problem && messages[problem]}\n      />\n      <Total cart={cart} />", "instruction": "Add the field above the total"}"#,
        "Successfully modified file: src/checkout/CheckoutForm.tsx (1 replacement)",
    ),
    call(
        "run_shell_command",
        8.0,
        r#"{"command": "npm run typecheck", "description": "Check the types"}"#,
        "> shop-web@2.13.0 typecheck\n> tsc --noEmit\n",
    )
    .after(4.0),
    post(
        "{slug}",
        "status",
        "Form: the field is there and announces errors. The sentences for each error code are next.",
    ),
    call(
        "run_shell_command",
        2.0,
        r#"{"command": "git commit -qam 'Checkout: field for {feature}' && git push -qu origin feat/{slug}", "description": "Push the branch"}"#,
        "branch 'feat/{slug}' set up to track 'origin/feat/{slug}'.",
    ),
    say("Now the sentences. I read the translations first."),
    fail("frontend-failed", "{failure}").after(9.0),
];

// ---- tester: Qwen Code in shop-web; takes over from frontend ----

const TESTER: &[Step] = &[
    prompt("Find out why the nightly browser test of the basket fails once in ten runs (branch main).").after(1.0),
    say("I repeat the test until it fails, and keep the trace."),
    failing_call(
        "run_shell_command",
        22.0,
        r#"{"command": "npx playwright test basket --repeat-each 20 --trace retain-on-failure", "description": "Repeat the test"}"#,
        "Running 20 tests using 4 workers\n\n  \x1b[32m✓\x1b[0m  1 basket.spec.ts:12 › removes an item (1.1s)\n  \x1b[32m✓\x1b[0m  2 basket.spec.ts:12 › removes an item (1.0s)\n  \x1b[31m✘\x1b[0m  3 basket.spec.ts:12 › removes an item (5.2s)\n\n  \x1b[31m2 failed\x1b[0m\n  \x1b[32m18 passed\x1b[0m (31.4s)",
        "exit code 1",
    ),
    say("The click comes before the basket is loaded. The test must wait for the list, not for a time."),
    call(
        "edit",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-web/tests/basket.spec.ts", "old_string": "  await page.waitForTimeout(500);\n  await page.getByRole('button', { name: 'Remove' }).click();", "new_string": "  await expect(page.getByRole('listitem')).toHaveCount(2);\n  await page.getByRole('button', { name: 'Remove' }).first().click();"}"#,
        "Successfully edited tests/basket.spec.ts",
    ),
    call(
        "run_shell_command",
        24.0,
        r#"{"command": "npx playwright test basket --repeat-each 40", "description": "Repeat the test"}"#,
        "Running 40 tests using 4 workers\n\n  \x1b[32m40 passed\x1b[0m (44.0s)",
    ),
    send(Mail {
        key: "flaky",
        to: "planner",
        kind: "notification",
        priority: "info",
        title: "The basket test is stable",
        text: "40 of 40 runs pass. It waited for half a second instead of for the list; pushed to `main`.",
    }),
    done(),
    read("takeover"),
    prompt("Finish the form for {feature} on the branch feat/{slug}: frontend has failed."),
    say("I take the branch over and look at what is missing."),
    call(
        "run_shell_command",
        2.0,
        r#"{"command": "git fetch -q && git switch feat/{slug} && git diff --stat main", "description": "Take over the branch"}"#,
        "Switched to branch 'feat/{slug}'\n src/checkout/CheckoutForm.tsx | 7 \x1b[32m+++++++\x1b[0m\n 1 file changed, 7 insertions(+)",
    ),
    call(
        "read_file",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-web/src/checkout/messages.ts"}"#,
        "export const messages: Record<string, string> = {\n  card_declined: 'Your card was declined.',\n  out_of_stock: 'This item is sold out.'\n};",
    ),
    call(
        "edit",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-web/src/checkout/messages.ts", "old_string": "  out_of_stock: 'This item is sold out.'\n", "new_string": "  out_of_stock: 'This item is sold out.',\n  unknown: 'This code does not exist. Check it for typing errors.',\n  expired: 'This code has expired.',\n  used: 'This code was used already.'\n"}"#,
        "Successfully edited src/checkout/messages.ts",
    ),
    call(
        "write_file",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-web/tests/{slug}.spec.ts", "content": "import { expect, test } from '@playwright/test';\n\nfor (const code of ['unknown', 'expired', 'used']) {\n  test(`shows why ${code} is refused`, async ({ page }) => {\n    await page.goto('/checkout');\n    await page.getByLabel('{Type}').fill(code);\n    await expect(page.getByRole('alert')).toBeVisible();\n  });\n}\n"}"#,
        "Successfully created tests/{slug}.spec.ts",
    )
    .after(5.0),
    call(
        "run_shell_command",
        13.0,
        r#"{"command": "npx playwright test", "description": "Run all browser tests"}"#,
        "Running 64 tests using 4 workers\n\n  \x1b[32m64 passed\x1b[0m (1.2m)",
    ),
    post("{slug}", "result", "Form: all three sentences are there, 64 browser tests pass. @backend: the code `used` works as you described."),
    send(Mail {
        key: "web-done",
        to: "planner",
        kind: "response",
        priority: "info",
        title: "The form is ready",
        text: "I have finished frontend's work: `feat/{slug}` in `shop-web`, 64 of 64 browser tests pass.",
    }),
    done(),
    read("freeze"),
];

// ---- reviewer: Claude Code in shop-api ----

const REVIEWER: &[Step] = &[
    prompt("Review the update of the dependencies (#{issue}0) on the branch deps.").after(5.0),
    say("I compare the lock files and read the changelogs of major updates."),
    call(
        "Bash",
        2.0,
        r#"{"command": "git diff --stat main...deps && cargo audit --color always", "description": "Compare the branches and check for advisories"}"#,
        " Cargo.lock | 112 \x1b[32m+++++++++\x1b[31m---------\x1b[0m\n Cargo.toml |   6 \x1b[32m+++\x1b[31m---\x1b[0m\n    \x1b[1m\x1b[32mFetching\x1b[0m advisory database\n    \x1b[1m\x1b[32mScanning\x1b[0m Cargo.lock (231 crate dependencies)\n",
    ),
    call(
        "WebFetch",
        4.0,
        r#"{"url": "https://github.com/launchbadge/sqlx/blob/main/CHANGELOG.md", "prompt": "What breaks between the two versions?"}"#,
        "Two breaking changes: the runtime feature was renamed, and `execute` on a pool needs a reference.",
    ),
    say("Both breaking changes are handled in the branch. Nothing else stops it."),
    post(
        "releases",
        "proposal",
        "The dependencies (branch `deps`) can go into {version}: no advisories, both breaking changes are handled.",
    ),
    done(),
    read("review"),
    prompt("Review {feature} on the branch feat/{slug}: rounding, and two requests at the same time."),
    say("I read the difference to main first."),
    call(
        "Bash",
        1.0,
        r#"{"command": "git fetch -q && git diff --stat main...origin/feat/{slug}", "description": "Compare with main"}"#,
        " src/cart/{field}.rs       | 48 \x1b[32m+++++++++++++++\x1b[0m\n src/cart/{field}_error.rs |  9 \x1b[32m+++\x1b[0m\n src/cart/total.rs         |  5 \x1b[32m++\x1b[31m-\x1b[0m\n tests/cart.rs             | 61 \x1b[32m++++++++++++++++++\x1b[0m",
    ),
    call(
        "Read",
        1.0,
        r#"{"file_path": "/home/ada/src/shop-api/src/cart/{field}.rs", "offset": 21, "limit": 7}"#,
        "    21\tpub async fn redeem(db: &Pool, code: &str) -> Result<{Type}> {\n    22\t    let found = find(db, code).await?;\n    23\t    if found.used_at.is_some() {\n    24\t        return Err({Type}Error::Used);\n    25\t    }\n    26\t    mark_used(db, code).await?;\n    27\t    Ok(found)",
    ),
    say("Between lines 22 and 26 another request can use the same code. I look for a transaction around it."),
    call(
        "Grep",
        1.0,
        r#"{"pattern": "redeem\\(", "path": "src", "output_mode": "content", "-n": true}"#,
        "src/checkout/pay.rs:40:    let {field} = redeem(&db, &code).await?;\nsrc/cart/{field}.rs:21:pub async fn redeem(db: &Pool, code: &str) -> Result<{Type}> {",
    ),
    send(Mail {
        key: "findings",
        to: "backend",
        kind: "feedback",
        priority: "action",
        title: "Review of feat/{slug}: one thing to fix",
        text: "Clean work; one finding must be fixed before the merge.\n\n| # | place | finding | weight |\n|---|---|---|---|\n| 1 | `total.rs:6` | the limit is right, and tested | – |\n| 2 | `{field}.rs:22` | two requests can use one code | **must** |\n| 3 | `receipt.rs:77` | the reduction is shown without tax | later |\n\nFor 2, let the database decide:\n\n```sql\nUPDATE {field} SET used_at = now()\n WHERE code = $1 AND used_at IS NULL;\n```\n\n- [x] rounding\n- [x] error codes\n- [ ] two requests at the same time\n\nWhy one statement is enough: [Postgres, Read Committed](https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED).",
    }),
    post(
        "{slug}",
        "question",
        "Finding 2 for backend: one code, two requests. Does the form disable its button while it waits? tester, please check.",
    ),
    read("fixed"),
    call(
        "Bash",
        7.0,
        r#"{"command": "git pull -q && cargo test --color always {field}", "description": "Run the tests of the fix"}"#,
        "running 11 tests\ntest {field}::two_requests_at_once ... \x1b[32mok\x1b[0m\n\ntest result: \x1b[32mok\x1b[0m. 11 passed; 0 failed; finished in 3.02s",
    ),
    say("The fix holds with eight threads. **Approved.**"),
    send(Mail {
        key: "approved-for-backend",
        to: "backend",
        kind: "response",
        priority: "info",
        title: "Approved: feat/{slug}",
        text: "Thank you, finding 2 is fixed. Please open an issue for finding 3, and write the changelog.",
    }),
    call(
        "mcp__github__create_pull_request_review",
        2.0,
        r#"{"owner": "acme", "repo": "shop-api", "event": "APPROVE", "body": "One statement decides who is first. Thank you."}"#,
        r#"{"state": "APPROVED", "author": "reviewer"}"#,
    ),
    send(Mail {
        key: "approved",
        to: "planner",
        kind: "response",
        priority: "info",
        title: "Approved: feat/{slug}",
        text: "Approved. Finding 2 is fixed and tested; finding 3 (tax on the receipt) is for another change.",
    }),
    done(),
];

// ---- ops: OpenCode in infra, on main ----

const OPS: &[Step] = &[
    prompt("Look after staging: check the nodes, act on alarms, deploy what planner hands over (branch main).")
        .after(3.0),
    say("First the state of the nodes."),
    call(
        "bash",
        2.0,
        r#"{"command": "kubectl get nodes", "description": "List the nodes"}"#,
        "NAME        STATUS   ROLES    AGE   VERSION\nstaging-1   Ready    <none>   91d   v1.34.2\nstaging-2   Ready    <none>   91d   v1.34.2",
    ),
    call(
        "bash",
        3.0,
        r#"{"command": "ssh staging-2 df -h /var/lib/postgresql", "description": "Check the disk of the database"}"#,
        "Filesystem      Size  Used Avail Use% Mounted on\n/dev/sdb        100G   \x1b[33m{disk}G\x1b[0m  \x1b[31m6.1G  {disk}%\x1b[0m /var/lib/postgresql",
    ),
    say("The disk of the database is almost full. At this rate it lasts for about nine hours."),
    send(Mail {
        key: "disk-alarm",
        to: "planner",
        kind: "notification",
        priority: "urgent",
        title: "Staging: the disk of the database is {disk} % full",
        text: "`staging-2:/var/lib/postgresql` is {disk} % full and grows by 0.7 GB an hour. Please deploy nothing to staging until I report.",
    }),
    post(
        "staging",
        "status",
        "Alarm: the disk of the database is {disk} % full. I ask before I change it.",
    ),
    call(
        "bash",
        5.0,
        r#"{"command": "terraform plan -out disk.plan", "description": "Plan a larger disk"}"#,
        "\x1b[1m  # google_compute_disk.staging_db\x1b[0m will be updated in-place\n  \x1b[33m~\x1b[0m size = 100 \x1b[33m->\x1b[0m 200\n\n\x1b[1mPlan:\x1b[0m 0 to add, \x1b[33m1 to change\x1b[0m, 0 to destroy.",
    ),
    ask(Question {
        key: "disk-permission",
        title: "Run terraform apply on staging?",
        text: "May I run `terraform apply disk.plan`? It doubles the disk of the staging database to 200 GB and costs 8 $ a month. It cannot be made smaller again.",
        permission: Some("bash"),
        wait: 60.0,
        choices: &[
            Choice {
                words: &["yes", "y", "ok", "allow", "allowed", "sure"],
                steps: &[
                    say("Allowed: “{answer}”."),
                    call(
                        "bash",
                        9.0,
                        r#"{"command": "terraform apply disk.plan", "description": "Make the disk larger"}"#,
                        "google_compute_disk.staging_db: Modifying...\ngoogle_compute_disk.staging_db: Modifications complete after 8s\n\n\x1b[1m\x1b[32mApply complete!\x1b[0m Resources: 0 added, 1 changed, 0 destroyed.",
                    ),
                    post(
                        "staging",
                        "result",
                        "The disk has 200 GB now. Staging is open for deployments.",
                    ),
                    send(Mail {
                        key: "disk-larger",
                        to: "human",
                        kind: "completion",
                        priority: "info",
                        title: "Done: the disk has 200 GB",
                        text: "Thank you. `terraform apply` took 8 s, and the disk is 46 % full.",
                    }),
                ],
            },
            Choice {
                words: &[],
                steps: &[
                    say(
                        "The person says: “{answer}”. I change no disk, and remove old backups instead: they can be made again.",
                    ),
                    call("bash", 5.0, CLEAN_UP, CLEANED_UP),
                    post(
                        "staging",
                        "result",
                        "The disk stays as it is. Without old backups it is 61 % full.",
                    ),
                    send(Mail {
                        key: "disk-kept",
                        to: "human",
                        kind: "completion",
                        priority: "info",
                        title: "Done without a larger disk",
                        text: "I have not run `terraform apply`. Without the old backups, the disk is 61 % full, which lasts for two weeks.",
                    }),
                ],
            },
        ],
        silence: &[
            say("No answer yet, so I do what needs no permission: old backups can be made again."),
            call("bash", 5.0, CLEAN_UP, CLEANED_UP),
            post(
                "staging",
                "result",
                "No answer about the disk yet. Without old backups it is 61 % full; that is enough for two weeks.",
            ),
        ],
    }),
    done(),
    read("deploy"),
    prompt("Deploy {version}, as planner's mail says."),
    call(
        "bash",
        8.0,
        r#"{"command": "./deploy.sh {version}", "description": "Deploy"}"#,
        "image shop-api:{version}  \x1b[32mpushed\x1b[0m\nimage shop-web:{version}  \x1b[32mpushed\x1b[0m\ndeployment \"shop-api\" \x1b[32msuccessfully rolled out\x1b[0m\ndeployment \"shop-web\" \x1b[32msuccessfully rolled out\x1b[0m",
    ),
    call(
        "bash",
        4.0,
        r#"{"command": "curl -fsS https://staging.shop.example/healthz", "description": "Check the health"}"#,
        r#"{"status": "ok", "version": "{version}"}"#,
    ),
    say("Both deployments are healthy, and the rate of errors is as before."),
    post("releases", "status", "{version} is deployed and healthy."),
    send(Mail {
        key: "deployed",
        to: "planner",
        kind: "completion",
        priority: "info",
        title: "{version} is deployed",
        text: "`{version}` runs, the health check passes, and the rate of errors is as before.",
    }),
    done(),
];

const CLEAN_UP: &str = r#"{"command": "ssh staging-2 'find /var/lib/postgresql/backups -mtime +14 -delete'", "description": "Remove backups that are older than two weeks"}"#;
const CLEANED_UP: &str = "freed 31 GB";
