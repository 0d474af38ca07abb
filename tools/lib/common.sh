# shellcheck shell=bash disable=SC2034
# Sourced by tools/setup, tools/demo and tools/test: where things are and how
# they are built.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(realpath -m "${PARE_BUILD:-$repo/build}")
venv=$build/venv

# Objects are shared between clones: paths are hashed relative to this one, and
# precompiled headers are compared by their inputs.
export CCACHE_DIR=${CCACHE_DIR:-$HOME/.cache/ccache}
export CCACHE_BASEDIR=$repo
export CCACHE_NOHASHDIR=true CCACHE_PCH_EXTSUM=true
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}

say() { printf '%s\n' "$*" >&2; }
die() {
  say "$(basename "$0"): $*"
  exit 1
}

# build_tree PRESET DIRECTORY [TARGET…]: configures once, builds what changed.
build_tree() {
  local preset=$1 dir=$2
  shift 2
  if [ ! -f "$dir/build.ninja" ]; then
    say "Configuring the $preset preset in $dir"
    mkdir -p "$dir"
    (cd "$repo" && cmake --preset "$preset" -B "$dir" -DPARE_VENV="$venv" >"$dir/configure.log" 2>&1) ||
      { tail -n 30 "$dir/configure.log" >&2; return 1; }
  fi
  cmake --build "$dir" ${1:+--target "$@"}
}
