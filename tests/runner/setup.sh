# shellcheck shell=bash disable=SC2086
# shellcheck disable=SC2034,SC2154 # step and target are shared with tests/run
# Sourced by tests/run. `set_up NEED...` installs what is missing, or names it and stops the run.
#
# Debian and Ubuntu: packages are installed with apt-get. Elsewhere the person installs them.
# Everything else goes into the target folder: venv (Python), npm (Node), tools (cargo-nextest).

set_up() {
    local needs=" $* " start=$SECONDS
    step=set-up
    printf '\n== set-up\n'
    install_packages "$@"
    case $needs in *' cargo '*) find_rust ;; esac
    case $needs in *' rustfmt '*) cargo fmt --version >/dev/null 2>&1 || add_component rustfmt ;; esac
    case $needs in *' clippy '*) cargo clippy --version >/dev/null 2>&1 || add_component clippy ;; esac
    case $needs in *' nextest '*) find_nextest ;; esac
    case $needs in *' python '*) make_venv ;; esac
    case $needs in *' npm '*) install_npm_packages ;; esac
    case $needs in *' agents '*) install_agents ;; esac
    case $needs in *' chromium '*) AGENTHUB_TEST_CHROMIUM=$(find_chromium) && export AGENTHUB_TEST_CHROMIUM ;; esac
    echo "== set-up: ok, $((SECONDS - start)) s"
}

# --- packages of the system ------------------------------------------------------------------------------------------

have() {
    case $1 in
        cargo | rustfmt | clippy | nextest | agents) ;; # not packages: set_up finds or installs them
        chromium) find_chromium >/dev/null ;;
        python) find_python >/dev/null ;;
        strace) [ "$(uname -s)" != Linux ] || command -v strace >/dev/null ;; # only Linux has it
        promtool) ! command -v apt-get >/dev/null || command -v promtool >/dev/null ;; # elsewhere the test skips promtool
        *) command -v "$1" >/dev/null ;;
    esac
}

debian_packages() {
    case $1 in
        cc) echo gcc libc6-dev ;;
        c++) echo g++ ;;
        chromium) if apt-cache show chromium 2>/dev/null | grep -q .; then echo chromium; else echo chromium-browser; fi ;; # Ubuntu
        python) echo python3 python3-venv ;;
        node) echo nodejs ;;
        promtool) echo prometheus ;;
        *) echo "$1" ;;
    esac
}

missing() {
    local need
    for need; do have "$need" || printf '%s ' "$need"; done
}

install_packages() {
    local lacking need packages=
    lacking=$(missing "$@")
    [ -n "$lacking" ] || return 0
    echo "missing: $lacking"
    if command -v apt-get >/dev/null; then
        apt update || echo 'apt-get update failed; continuing with the existing package lists'
        for need in $lacking; do packages="$packages $(debian_packages "$need")"; done
        apt install --no-install-recommends $packages || echo 'apt-get install failed'
        hash -r
        lacking=$(missing "$@")
    fi
    [ -z "$lacking" ] || fail_step "this machine lacks: ${lacking}(install them and run this again)"
}

# Retries for 20 s: apt-get waits for dpkg's lock, but not for the lock of the package lists.
apt() {
    local sudo='' try
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    for try in 1 2 3 4 5; do
        [ "$try" -eq 1 ] || sleep 5
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" </dev/null && return
    done
    return 1
}

find_chromium() {
    local name
    for name in "${AGENTHUB_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable \
        '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome' /Applications/Chromium.app/Contents/MacOS/Chromium; do
        if [ -n "$name" ] && command -v "$name"; then return; fi
    done
    return 1
}

# Prints the first Python that has SQLite and can create virtual environments.
find_python() {
    local name
    for name in python3 /usr/bin/python3; do
        if "$name" -c 'import ensurepip, sqlite3, venv' 2>/dev/null; then command -v "$name" && return; fi
    done
    return 1
}

# --- Rust ------------------------------------------------------------------------------------------------------------

# Sets PATH, RUSTUP_HOME and CARGO_HOME, also if HOME is not the one rustup was installed with.
find_rust() {
    local lines
    lines=$(./install.sh --env) || fail_step 'no Rust toolchain'
    eval "$lines"
    export PATH="$PATH:$target/tools/bin"
}

add_component() {
    rustup component add "$1" </dev/null || fail_step "$1 is missing"
}

# `show-config version` fails if .config/nextest.toml needs a newer nextest.
find_nextest() {
    cargo nextest show-config version >/dev/null 2>&1 && return
    echo 'installing cargo-nextest (some minutes)'
    export PATH="$target/tools/bin:$PATH"
    cargo install --locked --root "$target/tools" --no-default-features --features default-no-update cargo-nextest@0.9.143 </dev/null ||
        fail_step 'cargo-nextest could not be installed'
}

# --- Python and Node -------------------------------------------------------------------------------------------------

# True if the folder $1 was made from the current contents of the files $2...
is_current() {
    local folder=$1
    shift
    [ "$(cat "$folder/made-from" 2>/dev/null)" = "$(cat "$@" | cksum)" ]
}

make_venv() {
    local venv=$target/venv
    # After an upgrade of Python, an environment may exist that does not run.
    if ! is_current "$venv" tests/requirements.txt || ! "$venv/bin/python" -c '' 2>/dev/null; then
        rm -rf "$venv"
        "$(find_python)" -m venv "$venv" || fail_step 'the Python environment could not be created'
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -r tests/requirements.txt </dev/null ||
            fail_step 'the Python packages could not be installed'
        cksum <tests/requirements.txt >"$venv/made-from"
    fi
    export AGENTHUB_TEST_PYTHON=$venv/bin/python
}

install_npm_packages() {
    local npm=$target/npm
    is_current "$npm" tests/package.json tests/package-lock.json && return
    rm -rf "$npm"
    mkdir -p "$npm"
    cp tests/package.json tests/package-lock.json "$npm/"
    (cd "$npm" && npm ci --no-audit --no-fund </dev/null) || fail_step 'the npm packages could not be installed'
    cat tests/package.json tests/package-lock.json | cksum >"$npm/made-from"
}

# Installs the agent programs that tests/agents/package-lock.json names, outside the target folder: they take 1.3 GB.
# They need no install scripts: their binaries are optional dependencies. With AGENTS=latest, their newest versions.
install_agents() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/agenthub-tests beside
    if [ "${AGENTS:-}" = latest ]; then
        AGENTHUB_TEST_AGENTS=$cache/latest
    else
        AGENTHUB_TEST_AGENTS=$cache/agents-$(cat tests/agents/package.json tests/agents/package-lock.json | cksum | tr ' ' -)
    fi
    export AGENTHUB_TEST_AGENTS
    [ "${AGENTS:-}" != latest ] && [ -e "$AGENTHUB_TEST_AGENTS" ] && return
    mkdir -p "$cache"
    beside=$(mktemp -d "$cache/new-XXXXXX")
    cp tests/agents/package.json tests/agents/package-lock.json "$beside/"
    if ! (cd "$beside" && npm_install_agents </dev/null); then
        rm -rf "$beside"
        fail_step 'the agent programs could not be installed'
    fi
    [ "${AGENTS:-}" != latest ] || rm -rf "$AGENTHUB_TEST_AGENTS"
    # Another run may have installed them meanwhile.
    if [ -e "$AGENTHUB_TEST_AGENTS" ]; then rm -rf "$beside"; else mv "$beside" "$AGENTHUB_TEST_AGENTS"; fi
}

npm_install_agents() {
    if [ "${AGENTS:-}" = latest ]; then
        npm install --ignore-scripts --no-audit --no-fund --loglevel=error \
            claude-code@npm:@anthropic-ai/claude-code@latest @openai/codex@latest @google/gemini-cli@latest \
            opencode-ai@latest @qwen-code/qwen-code@latest @github/copilot@latest @moonshot-ai/kimi-code@latest
    else
        # Not `npm ci`: it refuses a lock file without the optional packages of each platform.
        npm install --ignore-scripts --no-audit --no-fund --loglevel=error
    fi
}
