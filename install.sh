#!/bin/sh
# Builds agenthub from this checkout and installs it for the current user. Run it again to upgrade.
#
# It needs Rust and a C compiler, and says how to get them. It never calls sudo and never edits shell start files.
# Its messages go to stderr: stdout belongs to the command that it runs at the end (`serve` prints its URL there).
set -eu

usage() {
    cat <<'END'
usage: ./install.sh [COMMAND...]     build and install; then run `agenthub COMMAND...`, if given
       ./install.sh --uninstall      remove the program and keep the data
       ./install.sh --env            print shell lines that put the Rust toolchain on PATH
       ./install.sh --help

examples:
  ./install.sh                       only install or upgrade
  ./install.sh serve                 install, then start the hub; the first line it prints is the URL of its page
  ./install.sh demo                  install, then try it with simulated agents

environment:
  AGENTHUB_INSTALL_DIR               the folder to install to (default: ~/.local/bin)
  CARGO_HOME, RUSTUP_HOME, CC        as cargo, rustup and C builds use them
END
}

say() { printf '%s\n' "$*" >&2; }
die() {
    say "install.sh: $*"
    exit 1
}
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

# --- requirements ----------------------------------------------------------------------------------------------------

# Prints a version as a number to compare: "1.95.0-nightly" is 1095000.
version_number() {
    echo "${1%%[!0-9.]*}" | {
        IFS=. read -r major minor patch
        echo $((${major:-0} * 1000000 + ${minor:-0} * 1000 + ${patch:-0}))
    }
}

# Prints the version of the cargo $1. Runs it in the checkout, where rustup's overrides apply; its errors go to a file.
cargo_version() {
    output=$(cd "$root" && "$1" --version 2>"$tmp/cargo.err" </dev/null) || return 1
    case $output in 'cargo '[0-9]*) output=${output#cargo } && echo "${output%% *}" ;; *) return 1 ;; esac
}

# Sets `cargo` to $1 if that runs and is new enough, else adds the reason to `rejected`.
try_cargo() {
    case $1 in /*) [ -x "$1" ] && [ ! -d "$1" ] || return 1 ;; *) return 1 ;; esac
    case $rejected in *"$1 "*) return 1 ;; esac
    if ! version=$(cargo_version "$1"); then
        reason="does not run: $(sed -n 1p "$tmp/cargo.err")"
        # rustup's cargo looks for its toolchains under HOME. If HOME is another one than at its installation, they are
        # still next to it: /home/ann/.cargo/bin/cargo and /home/ann/.rustup, or /usr/local/cargo and /usr/local/rustup.
        home=${1%/bin/cargo}
        case $home in
            */.cargo) toolchains=${home%/.cargo}/.rustup ;;
            */cargo) toolchains=${home%/cargo}/rustup ;;
            *) toolchains= ;;
        esac
        if [ -n "${RUSTUP_HOME:-}" ] || [ ! -d "$toolchains/toolchains" ] || ! version=$(RUSTUP_HOME=$toolchains cargo_version "$1"); then
            rejected="$rejected
  $1 $reason"
            return 1
        fi
        rustup_home=$toolchains
        if [ -z "${CARGO_HOME:-}" ] && [ ! -e "${HOME:-}/.cargo" ] && [ -w "$home" ]; then cargo_home=$home; fi
    fi
    if [ "$(version_number "$version")" -lt "$(version_number "$rust_version")" ]; then
        rejected="$rejected
  $1 is version $version"
        return 1
    fi
    cargo=$1
}

# Prints the home folder of the account, which HOME may differ from.
account_home() {
    name=$(id -un 2>/dev/null) || return 0
    # Only a plain name is safe in `eval`.
    case $name in *[!A-Za-z0-9._-]*) ;; *) eval "printf '%s\n' ~$name" ;; esac
}

# Sets `cargo`, and `build_path`, `rustup_home` and `cargo_home` to the environment it needs. They are not exported,
# because the command at the end runs in the user's own environment.
find_cargo() {
    rust_version=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$root/Cargo.toml")
    rejected=
    rustup_home=${RUSTUP_HOME:-}
    cargo_home=${CARGO_HOME:-}
    try_cargo "$(command -v cargo || :)" ||
        try_cargo "${CARGO_HOME:+$CARGO_HOME/bin/cargo}" ||
        try_cargo "${HOME:+$HOME/.cargo/bin/cargo}" ||
        try_cargo "$(rustup which cargo 2>/dev/null || :)" ||
        try_cargo "$(account_home)/.cargo/bin/cargo" ||
        return 1
    # Its folder comes first on PATH, so that it finds its own rustc.
    build_path=$PATH
    [ "$(command -v cargo || :)" = "$cargo" ] || build_path=${cargo%/cargo}:$PATH
}

# SQLite is C, and rustc links with `cc`. A compiler without the C library's headers is not enough, so compile a program.
have_c() {
    # Without the developer tools, macOS opens a window when `cc` is called.
    if [ "$(uname -s)" = Darwin ] && [ -z "${CC:-}" ] && ! xcode-select -p >/dev/null 2>&1; then return 1; fi
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$tmp/try.c"
    for compiler in cc ${CC:+"$CC"}; do
        c_problem=" (\`$compiler\` does not work)"
        # shellcheck disable=SC2086 # CC may be two words, such as "ccache gcc"
        $compiler -o "$tmp/try" "$tmp/try.c" >/dev/null 2>&1 || return 1
    done
}

# Prints the commands that install Rust ($1 = rust) or a C compiler ($1 = c), by package manager.
explain() {
    if [ "$1" = rust ]; then
        say "agenthub needs Rust $rust_version or newer. ${rejected:+Found:}${rejected:-No Rust toolchain was found.}"
        case $rejected in
            *rustup*) say "  with rustup:                rustup default stable && rustup update stable
  rustup looks for its toolchains in ${RUSTUP_HOME:-${HOME:-~}/.rustup}; set RUSTUP_HOME if they are elsewhere." ;;
        esac
        say "  on any platform:            curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    else
        say "agenthub needs a C compiler and the headers of the C library${c_problem:-}."
    fi
    case $1:$(package_manager) in
        rust:apt-get) say '  Debian 13, Ubuntu 24.04:    sudo apt-get install rustup && rustup default stable' ;;
        rust:dnf) say '  Fedora:                     sudo dnf install rustup && rustup-init' ;;
        rust:pacman) say '  Arch:                       sudo pacman -S rustup && rustup default stable' ;;
        rust:macos) say '  macOS with Homebrew:        brew install rust' ;;
        c:apt-get) say '  Debian, Ubuntu:             sudo apt-get install build-essential' ;;
        c:dnf) say '  Fedora:                     sudo dnf install gcc glibc-devel' ;;
        c:pacman) say '  Arch:                       sudo pacman -S base-devel' ;;
        c:macos) say '  macOS:                      xcode-select --install' ;;
        c:*) say '  Install gcc or clang with your package manager.' ;;
    esac
    say '  Then open a new terminal and run ./install.sh again.'
}

package_manager() {
    if [ "$(uname -s)" = Darwin ]; then
        echo macos
        return
    fi
    for manager in apt-get dnf pacman; do
        if command -v $manager >/dev/null; then
            echo $manager
            return
        fi
    done
}

# --- build, install, uninstall ---------------------------------------------------------------------------------------

# Sets `built` to the binary, as cargo reports it: the target folder can be set in many places.
build() {
    say "Building agenthub with $cargo. The first build takes a few minutes."
    (
        cd "$root"
        [ -z "$rustup_home" ] || export RUSTUP_HOME="$rustup_home"
        [ -z "$cargo_home" ] || export CARGO_HOME="$cargo_home"
        PATH=$build_path "$cargo" build --release --locked --message-format json-render-diagnostics
    ) >"$tmp/build.json" || die 'the build failed; nothing was installed or changed'
    built=$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$tmp/build.json" | tail -n 1)
    [ -f "$built" ] || die 'the build produced no program'
}

install_binary() {
    mkdir -p "$dir" || die "cannot create $dir; set AGENTHUB_INSTALL_DIR to another folder"
    dir=$(CDPATH='' cd -- "$dir" && pwd)
    [ ! -d "$dir/agenthub" ] || die "$dir/agenthub is a folder; move it, or set AGENTHUB_INSTALL_DIR to another folder"
    done=Installed
    [ ! -e "$dir/agenthub" ] || done=Upgraded

    # Renaming replaces the old program in one step. A running hub keeps the old file open.
    new=$(mktemp "$dir/.agenthub.XXXXXX") || die "cannot write to $dir; set AGENTHUB_INSTALL_DIR to another folder"
    cp "$built" "$new" || die "cannot write to $dir"
    chmod 755 "$new"
    code=0
    version=$("$new" --version 2>/dev/null </dev/null) || code=$?
    case $code in 126 | 127) die "programs in $dir cannot run; set AGENTHUB_INSTALL_DIR to another folder" ;; esac
    mv -f "$new" "$dir/agenthub"
    new=

    say "$done ${version:-agenthub}: $dir/agenthub"
    [ $done = Installed ] || say 'A hub that is running uses the old version until you restart it.'
    case ":$PATH:" in
        *":$dir:"*)
            first=$(command -v agenthub || :)
            [ "$first" = "$dir/agenthub" ] || say "Note: \`agenthub\` runs $first, which comes earlier on PATH."
            ;;
        *)
            say "$dir is not on PATH. Add this line to your shell's start file:"
            case ${SHELL:-} in
                */fish) say "  fish_add_path $(quote "$dir")" ;;
                *) say "  export PATH=$(quote "$dir"):\"\$PATH\"" ;;
            esac
            ;;
    esac
}

# Prints the default database, as `agenthub path` does. That command would create the file.
data_file() {
    case $(uname -s):${XDG_DATA_HOME:-} in
        Darwin:*) folder="${HOME:-~}/Library/Application Support" ;;
        *:/*) folder=$XDG_DATA_HOME ;;
        *) folder=${HOME:-~}/.local/share ;;
    esac
    echo "${AGENTHUB_DB:-$folder/agenthub/hub.db}"
}

uninstall() {
    if [ -e "$dir/agenthub" ] || [ -L "$dir/agenthub" ]; then
        rm -f -- "$dir/agenthub" || die "cannot remove $dir/agenthub"
        say "Removed $dir/agenthub. A hub that is running continues until you stop it."
    else
        say "Nothing to remove: $dir/agenthub does not exist."
    fi
    data=$(data_file)
    if [ -e "$data" ]; then
        say "Your data is kept: $data (and the files next to it). Delete it yourself if you no longer need it."
    else
        say "No data found at $data."
    fi
}

# --- main ------------------------------------------------------------------------------------------------------------

case ${1:-} in
    -h | --help) usage && exit ;;
    --uninstall | --env)
        if [ $# -gt 1 ]; then
            say "install.sh: $1 takes no argument"
            exit 2
        fi
        ;;
esac
dir=${AGENTHUB_INSTALL_DIR:-${HOME:+$HOME/.local/bin}}
[ -n "$dir" ] || [ "${1:-}" = --env ] || die 'HOME is not set; set AGENTHUB_INSTALL_DIR to the folder to install to'
if [ "${1:-}" = --uninstall ]; then
    uninstall
    exit
fi

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
grep -q '^name = "agenthub"$' "$root/Cargo.toml" 2>/dev/null || die "$root is not a checkout of agenthub"

tmp=
new=
clean() { rm -rf -- ${tmp:+"$tmp"} ${new:+"$new"}; }
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
tmp=$(mktemp -d "${TMPDIR:-/tmp}/agenthub-install.XXXXXX")

# Report both requirements before stopping, so that one round of installing is enough.
ready=yes
find_cargo || { explain rust && ready=; }
if [ "${1:-}" = --env ]; then
    [ -n "$ready" ] || exit 1
    printf 'export PATH=%s\n' "$(quote "$build_path")"
    [ -z "$rustup_home" ] || printf 'export RUSTUP_HOME=%s\n' "$(quote "$rustup_home")"
    [ -z "$cargo_home" ] || printf 'export CARGO_HOME=%s\n' "$(quote "$cargo_home")"
    exit
fi
have_c || { explain c && ready=; }
[ -n "$ready" ] || exit 1

build
install_binary
clean
trap - EXIT HUP INT TERM
[ $# -eq 0 ] || exec "$dir/agenthub" "$@"
