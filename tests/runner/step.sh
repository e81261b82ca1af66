# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # work, profile, nextest_args and the counters are set and read by tests/run
# Sourced by tests/run. `run_step NAME` runs a step, adds its results to the counters, and ends the run if it fails.
#
# A step runs in a process session of its own. After it has ended, no process of that session may be left.

skip_code=77 # exit code of a step that cannot run on this machine (as in automake); its last line says why
step=
step_pid=

# Ends the run: the current step has failed for the reason $1.
fail_step() {
    [ "${step_failed:-0}" -gt 0 ] || step_failed=1
    failed=$((failed + step_failed))
    printf '\n== FAILED: %s: %s\n' "$step" "$1"
    finish "${2:-1}"
}

interrupted() {
    trap '' HUP INT TERM
    [ -z "$step_pid" ] || stop_step "$step_pid"
    fail_step interrupted "$1"
}
trap 'interrupted 129' HUP
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

run_step() {
    step=$1
    step_failed=0
    local log=$work/$1.log start=$SECONDS code=0 own_session='' left tee_pid counts
    printf '\n== %s\n' "$step"

    # A named pipe, because bash 3.2 cannot wait for a process substitution.
    rm -f "$work/pipe"
    mkfifo "$work/pipe"
    tee "$log" <"$work/pipe" &
    tee_pid=$!

    # bash starts background processes with SIGINT ignored, and some tests send SIGINT. macOS has neither command.
    if setsid env --default-signal=INT,QUIT true 2>/dev/null; then own_session='setsid env --default-signal=INT,QUIT'; fi
    $own_session "$BASH" tests/run --step "$profile" "$step" ${nextest_args[@]+"${nextest_args[@]}"} >"$work/pipe" </dev/null &
    step_pid=$!
    wait "$step_pid" || code=$?

    left=$(processes_left "$step_pid")
    [ -z "$left" ] || stop_step "$step_pid"
    step_pid=
    wait_until 5 is_gone "$tee_pid" || kill "$tee_pid"
    wait "$tee_pid" 2>/dev/null || :

    counts=$(count_results "$log")
    passed=$((passed + ${counts% *}))
    step_failed=${counts#* }
    if [ -n "$left" ]; then fail_step "it left processes behind:$left"; fi
    case $code in
        0) ;;
        "$skip_code")
            skipped=$((skipped + 1))
            skip_reasons="${skip_reasons}skipped: $step: $(tail -n 1 "$log")
"
            return
            ;;
        *) fail_step "exit code $code after $((SECONDS - start)) s (to repeat: tests/run --only $step)" ;;
    esac
    [ "$step_failed" -eq 0 ] || fail_step "$step_failed failed"
    [ "${counts% *}" -gt 0 ] || passed=$((passed + 1)) # a step without a count of its own counts as one
    echo "== $step: ok, $((SECONDS - start)) s"
}

# Adds up the results in the log $1 and prints "PASSED FAILED". Understands the summaries of nextest and cargo test, and
# lines "12 passed, 0 failed".
count_results() {
    sed -nE -e 's/^ *Summary .* ([0-9]+) tests? run: ([0-9]+) passed.*/\2 \1-\2/p' \
        -e 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed;.*/\1 \2/p' \
        -e 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$1" |
        { p=0 f=0 && while read -r a b; do p=$((p + a)) f=$((f + b)); done && echo "$p $f"; }
}

# --- processes -------------------------------------------------------------------------------------------------------

# Prints the ids of the step's processes: those of the session $1, and those that left the session but hold the step's
# output. Reads /proc, because small containers have no ps. Prints nothing on macOS, which has no /proc.
step_processes() {
    local stat line
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        # "pid (name) state ppid pgrp session ...": the name may contain spaces and parentheses.
        # shellcheck disable=SC2086
        set -- "$1" "${line%% *}" ${line##*) }
        case $3 in Z | X) continue ;; esac
        if [ "${6:-}" = "$1" ] || [ "${stat%stat}fd/1" -ef "$work/pipe" ]; then echo "$2"; fi
    done
}

# Prints the processes that still run 5 s after the step $1 has ended, one a line: process id and command line.
processes_left() {
    local pid
    wait_until 5 has_no_processes "$1" && return
    for pid in $(step_processes "$1"); do
        printf '\n  %s %s' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c 1-200 || :)"
    done
}

stop_step() {
    local pid
    kill -TERM "$1" 2>/dev/null || :
    for pid in $(step_processes "$1"); do kill -KILL "$pid" 2>/dev/null || :; done
    wait "$1" 2>/dev/null || :
}

# Waits up to $1 seconds for the command $2... to succeed.
wait_until() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
has_no_processes() { [ -z "$(step_processes "$1")" ]; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }
