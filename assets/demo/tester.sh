# The demo's tester: a shell with agenthub's own commands. It claims requests from its inbox, works on them and answers.
# Runs as long as the process $DEMO.
n=$SEED
roll() { n=$(((n * 1103515245 + 12345) % 2147483648)) && r=$(((n / 65536) % $1)); }
"$AGENTHUB" inbox >/dev/null 2>&1
while kill -0 "$DEMO" 2>/dev/null; do
    mail=$("$AGENTHUB" inbox --claim --lease 30 --wait 1 --json 2>/dev/null) || continue
    id=$(printf '%s\n' "$mail" | sed -n 's/^{"n":\([0-9]*\),.*/\1/p')
    [ -n "$id" ] || continue
    roll 4
    "$AGENTHUB" post testing "Working on request #$id" >/dev/null
    sleep "1.$r"
    if [ "$r" -eq 0 ]; then answer='It fails on a cart with 0 items.'; else answer="All $((40 + r)) checks pass."; fi
    "$AGENTHUB" reply "$id" "$answer" >/dev/null
    "$AGENTHUB" post testing "Request #$id: $answer" --kind result >/dev/null
done
