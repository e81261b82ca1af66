#!/bin/sh
# Builds agenthub from this checkout and installs it for one user.
#
# For:      a fresh clone (`./install.sh serve`), an upgrade (the same again), a removal (`--uninstall`).
# Not for:  system-wide installs and packages. It never calls sudo and never edits a shell's files.
#
# 1. Find a C compiler and a Rust toolchain that is new enough, or say how to get them.
# 2. cargo build --release --locked.
# 3. Put the binary in place by a rename, so that a running agenthub is not disturbed.
# 4. With arguments: become `agenthub <arguments>`.
#
# stdout belongs to agenthub (the first line of `serve` is its URL), so everything said here goes to stderr.
set -eu

usage() {
    cat <<'END'
usage: ./install.sh [COMMAND...]     build, install or upgrade; then run `agenthub COMMAND...` if one is given
       ./install.sh --uninstall      remove the binary; the data stays
       ./install.sh --env            print shell lines that put the Rust toolchain found here on PATH
       ./install.sh --help

examples:
  ./install.sh                       only install
  ./install.sh serve                 install, then start the hub; its first line is the URL of the page
  ./install.sh serve --listen 127.0.0.1:0

environment:
  AGENTHUB_INSTALL_DIR               where the binary goes (default: ~/.local/bin)
  CARGO_HOME, RUSTUP_HOME, CC        as cargo, rustup and C builds read them
END
}

say() { printf '%s\n' "$*" >&2; }
die() {
    say "install.sh: $*"
    exit 1
}

# A word as the shell reads it back.
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

# --- Rust ------------------------------------------------------------------------------------------------------------

# "1.95.0-nightly" -> 1095000, so that versions compare as numbers.
version_number() {
    printf '%s\n' "$1" | sed 's/[^0-9.].*//' | {
        IFS=. read -r major minor patch
        echo $((${major:-0} * 1000000 + ${minor:-0} * 1000 + ${patch:-0}))
    }
}

# The version of the cargo at $1, asked in the checkout, where rustup's overrides count. Its complaint goes to $tmp/complaint.
cargo_version() {
    answer=$(cd "$root" && "$1" --version 2>"$tmp/complaint" </dev/null) || return 1
    case $answer in
        'cargo '[0-9]*) answer=${answer#cargo } && echo "${answer%% *}" ;;
        *) return 1 ;;
    esac
}

# True if the cargo at $1 runs and is new enough; sets `cargo`. Otherwise adds to `found` why not.
try_cargo() {
    [ -n "$1" ] && [ -x "$1" ] && [ ! -d "$1" ] || return 1
    case $1 in
        /*) ;;
        *) return 1 ;; # an alias or a function, nothing to run
    esac
    case "$found" in *"$1 "*) return 1 ;; esac

    if ! version=$(cargo_version "$1"); then
        # rustup's cargo looks for its toolchains in ~/.rustup. With another HOME than the one it was installed in, they still
        # lie beside it: /home/ann/.cargo/bin/cargo and /home/ann/.rustup, or /usr/local/cargo and /usr/local/rustup.
        home=${1%/bin/cargo}
        case $home in
            */.cargo) toolchains=${home%/.cargo}/.rustup ;;
            */cargo) toolchains=${home%/cargo}/rustup ;;
            *) toolchains= ;;
        esac
        if [ -z "${RUSTUP_HOME:-}" ] && [ -n "$toolchains" ] && [ -d "$toolchains/toolchains" ] &&
            version=$(RUSTUP_HOME=$toolchains cargo_version "$1"); then
            rustup_home=$toolchains
            # Its downloaded crates and its settings belong to the same installation.
            if [ -z "${CARGO_HOME:-}" ] && [ ! -e "${HOME:-}/.cargo" ] && [ -w "$home" ]; then
                cargo_home=$home
            fi
        else
            found="$found
  $1 does not run: $(sed -n '1p' "$tmp/complaint")"
            grep -q rustup "$tmp/complaint" && found="$found
    (rustup looks for its toolchains in ${RUSTUP_HOME:-${HOME:-~}/.rustup}; RUSTUP_HOME names another place)"
            return 1
        fi
    fi
    if [ "$(version_number "$version")" -lt "$(version_number "$wanted")" ]; then
        found="$found
  $1 is version $version"
        return 1
    fi
    cargo=$1
}

# The home folder of the account, which HOME need not be.
account_home() {
    name=$(id -un 2>/dev/null) || return 0
    case $name in
        *[!A-Za-z0-9._-]*) ;; # not a word to give to eval
        *) eval "printf '%s\n' ~$name" ;;
    esac
}

# Sets `cargo` to the first cargo that will do, and `build_path`, `rustup_home`, `cargo_home` to what it needs in its environment.
# They are not exported here: what is started at the end gets the environment as the user has it.
find_cargo() {
    wanted=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$root/Cargo.toml")
    found=
    cargo=
    rustup_home=${RUSTUP_HOME:-}
    cargo_home=${CARGO_HOME:-}
    try_cargo "$(command -v cargo || :)" ||
        try_cargo "${CARGO_HOME:+$CARGO_HOME/bin/cargo}" ||
        try_cargo "${HOME:+$HOME/.cargo/bin/cargo}" ||
        try_cargo "$(rustup which cargo 2>/dev/null || :)" ||
        try_cargo "$(account_home)/.cargo/bin/cargo" ||
        return 1
    # First on PATH, so that the rustc it calls is its own.
    build_path=$PATH
    [ "$(command -v cargo || :)" = "$cargo" ] || build_path=${cargo%/cargo}:$PATH
}

# Which set of commands to name: by the package manager, because derivatives are many and their managers few.
platform() {
    if [ "$(uname -s)" = Darwin ]; then
        echo macos
    elif command -v apt-get >/dev/null; then
        echo debian
    elif command -v dnf >/dev/null; then
        echo fedora
    elif command -v pacman >/dev/null; then
        echo arch
    else
        echo other
    fi
}

explain_cargo() {
    say "Rust $wanted or newer is needed (cargo and rustc).${found:+ Found:}${found:- None was found.}"
    case "$found" in
        *rustup*)
            say '  with rustup:                rustup default stable && rustup update stable'
            return
            ;;
    esac
    command -v rustup >/dev/null && say '  with the rustup you have:   rustup default stable && rustup update stable'
    say "  on any platform:            curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    case $(platform) in
        debian) say '  Debian 13, Ubuntu 24.04 on: sudo apt-get install rustup && rustup default stable' ;;
        fedora) say '  Fedora:                     sudo dnf install rustup && rustup-init' ;;
        arch) say '  Arch:                       sudo pacman -S rustup && rustup default stable' ;;
        macos) say '  macOS with Homebrew:        brew install rust' ;;
    esac
    say '  Then run this again, in a new terminal.'
}

# --- C ---------------------------------------------------------------------------------------------------------------

# SQLite is compiled from C, and rustc links through `cc`. A compiler without the C library's headers is not enough, so build a
# program with one.
have_c() {
    # On macOS `cc` exists without the developer tools, and opens a window that asks for them.
    if [ -z "${CC:-}" ] && [ "$(uname -s)" = Darwin ] && ! xcode-select -p >/dev/null 2>&1; then
        return 1
    fi
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$tmp/try.c"
    if ! cc -o "$tmp/try" "$tmp/try.c" >/dev/null 2>&1; then
        c_trouble=${CC:+ (as cc, with which Rust links; CC alone is not enough)}
        return 1
    fi
    # shellcheck disable=SC2086 # CC may be two words, such as "ccache gcc"
    if [ -n "${CC:-}" ] && ! ${CC} -o "$tmp/try" "$tmp/try.c" >/dev/null 2>&1; then
        c_trouble=" (CC is \"$CC\", which does not work)"
        return 1
    fi
}

explain_c() {
    say "A C compiler with the C library's headers is needed${c_trouble:-}."
    case $(platform) in
        debian) say '  Debian, Ubuntu:  sudo apt-get install build-essential' ;;
        fedora) say '  Fedora:          sudo dnf install gcc glibc-devel' ;;
        arch) say '  Arch:            sudo pacman -S base-devel' ;;
        macos) say '  macOS:           xcode-select --install' ;;
        *) say '  Install gcc or clang, and the headers of the C library, with your package manager.' ;;
    esac
}

# --- building, installing, removing ----------------------------------------------------------------------------------

# Sets `built` to the binary. cargo itself says where that is: target folders and targets can be set in many places.
build() {
    say "Building agenthub with $cargo (the first build takes some minutes) ..."
    (
        cd "$root"
        [ -z "$rustup_home" ] || export RUSTUP_HOME="$rustup_home"
        [ -z "$cargo_home" ] || export CARGO_HOME="$cargo_home"
        PATH=$build_path "$cargo" build --release --locked --message-format json-render-diagnostics
    ) >"$tmp/build.json" || die 'the build failed; what is installed was left as it is'
    built=$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$tmp/build.json" | tail -n 1)
    [ -f "$built" ] || die 'cargo built no binary'
}

install_binary() {
    mkdir -p "$dir" || die "the folder $dir cannot be made; set AGENTHUB_INSTALL_DIR to one that can"
    dir=$(CDPATH='' cd -- "$dir" && pwd)
    [ ! -d "$dir/agenthub" ] || die "$dir/agenthub is a folder; move it, or set AGENTHUB_INSTALL_DIR"
    was_there=
    [ ! -e "$dir/agenthub" ] || was_there=yes

    # A rename puts the new file in the old one's place in one step; a running agenthub keeps the old one.
    new=$(mktemp "$dir/.agenthub.XXXXXX") || die "$dir cannot be written; set AGENTHUB_INSTALL_DIR to a folder that can"
    cp "$built" "$new" || die "$dir cannot be written to"
    chmod 755 "$new"
    code=0
    version=$("$new" --version 2>/dev/null </dev/null) || code=$?
    case $code in
        126 | 127) die "programs in $dir cannot be run; set AGENTHUB_INSTALL_DIR to another folder" ;;
    esac
    mv -f "$new" "$dir/agenthub"
    new=

    if [ -n "$was_there" ]; then
        say "Upgraded $dir/agenthub${version:+ to $version}. A hub that runs stays the old one until it is started again."
    else
        say "Installed ${version:-agenthub} as $dir/agenthub."
    fi
}

advise_path() {
    case ":$PATH:" in
        *":$dir:"*)
            first=$(command -v agenthub || :)
            [ "$first" = "$dir/agenthub" ] || say "Note: \`agenthub\` still means $first, which comes earlier on PATH."
            ;;
        *)
            say "$dir is not on PATH. To call it as \`agenthub\`, add this line to your shell's start file:"
            case ${SHELL:-} in
                */fish) say "  fish_add_path $(quote "$dir")" ;;
                *) say "  export PATH=$(quote "$dir"):\"\$PATH\"" ;;
            esac
            ;;
    esac
}

# The file that `agenthub path` names. Asking the binary would make the file if it is not there, which is no way to say goodbye.
data_file() {
    if [ -n "${AGENTHUB_DB:-}" ]; then
        echo "$AGENTHUB_DB"
        return
    fi
    if [ "$(uname -s)" = Darwin ]; then
        echo "${HOME:-~}/Library/Application Support/agenthub/hub.db"
        return
    fi
    case ${XDG_DATA_HOME:-} in
        /*) echo "$XDG_DATA_HOME/agenthub/hub.db" ;;
        *) echo "${HOME:-~}/.local/share/agenthub/hub.db" ;;
    esac
}

uninstall() {
    if [ -e "$dir/agenthub" ] || [ -L "$dir/agenthub" ]; then
        rm -f -- "$dir/agenthub" || die "$dir/agenthub cannot be removed"
        say "Removed $dir/agenthub. A hub that runs goes on until it is stopped."
    else
        say "There is no $dir/agenthub; nothing was removed."
    fi
    data=$(data_file)
    if [ -e "$data" ]; then
        say "The data stays: $data (and what lies beside it). Delete it by hand if you want it gone."
    else
        say "No data was found at $data."
    fi
}

# --- what was asked for ----------------------------------------------------------------------------------------------

case ${1:-} in
    -h | --help)
        usage
        exit 0
        ;;
    --uninstall | --env)
        if [ $# -gt 1 ]; then
            say "install.sh: $1 takes no further argument"
            exit 2
        fi
        ;;
esac

if [ "${1:-}" != --env ]; then
    if [ -n "${AGENTHUB_INSTALL_DIR:-}" ]; then
        dir=$AGENTHUB_INSTALL_DIR
    elif [ -n "${HOME:-}" ]; then
        dir=$HOME/.local/bin
    else
        die 'HOME is not set, so there is no place to install to; set AGENTHUB_INSTALL_DIR'
    fi
fi
if [ "${1:-}" = --uninstall ]; then
    uninstall
    exit 0
fi

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
grep -q '^name = "agenthub"$' "$root/Cargo.toml" 2>/dev/null || die "$root is no checkout of agenthub; call install.sh where it lies"

tmp=
new=
clean() { rm -rf -- ${tmp:+"$tmp"} ${new:+"$new"}; }
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
tmp=$(mktemp -d "${TMPDIR:-/tmp}/agenthub-install.XXXXXX")

# Both are looked for before either is complained about: one round of installing is enough.
ready=yes
find_cargo || { explain_cargo && ready=; }
if [ "${1:-}" = --env ]; then
    [ -n "$ready" ] || exit 1
    printf 'export PATH=%s\n' "$(quote "$build_path")"
    [ -z "$rustup_home" ] || printf 'export RUSTUP_HOME=%s\n' "$(quote "$rustup_home")"
    [ -z "$cargo_home" ] || printf 'export CARGO_HOME=%s\n' "$(quote "$cargo_home")"
    exit 0
fi
have_c || { explain_c && ready=; }
[ -n "$ready" ] || exit 1

build
install_binary
advise_path
clean
trap - EXIT HUP INT TERM

if [ $# -gt 0 ]; then
    exec "$dir/agenthub" "$@"
fi
