#!/bin/sh
# k8slab @VERSION@ for a room without a network. Made by `k8slab bundle`.
#
#     sh THIS-FILE [DIRECTORY]      installs into DIRECTORY (k8slab), which must be new or empty
#
# It needs Python @PYTHON@ on @MACHINE@, and these programs of the system, by packages of Debian
# and Ubuntu: @PACKAGES@.
# Behind this script stands an archive; its SHA-256 is looked at before anything is done.
set -eu

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $1"
    [ $# -lt 2 ] || say "  $2"
    exit 3
}
archive() { tail -n +@LINE@ "$0"; }

# What somebody has there is no part of what is installed: pip would take it for installed already,
# and find fault with what it lacks.
unset PYTHONPATH

target=${1:-k8slab}
case $target in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac

say "looking at $0"
[ "$(archive | sha256sum | cut -d ' ' -f 1)" = "@SHA256@" ] ||
    fail "$0 is damaged: it is not as it was made" "copy it again, and compare its size: @SIZE@ bytes"

[ "$(uname -s) $(uname -m)" = "Linux @MACHINE@" ] ||
    fail "this bundle is for Linux on @MACHINE@, and here is $(uname -s) on $(uname -m)" \
        "make one on a machine like this: k8slab bundle"
# The first of the two in order of versions: another library's name comes before glibc's.
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc="another C library"
[ -z "@LIBC@" ] || [ "$(printf '%s\n' "@LIBC@" "$libc" | sort -V | head -n 1)" = "@LIBC@" ] ||
    fail "this bundle needs @LIBC@ or newer, and here is $libc" \
        "take a newer system, or make a bundle on this one: k8slab bundle"
python=
for candidate in "${PYTHON:-}" python@PYTHON@ python3; do
    [ -n "$candidate" ] || continue
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2], end=sys.abiflags)' \
        2>/dev/null) || continue
    [ "$version" != "@PYTHON@" ] || { python=$candidate; break; }
done
[ -n "$python" ] || fail "this bundle is for Python @PYTHON@, which was not found" \
    "install it, or name it: PYTHON=/path/to/python sh $0"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no module venv" "Debian, Ubuntu: apt-get install python@PYTHON@-venv"

[ ! -e "$target" ] || [ -z "$(ls -A "$target" 2>&1)" ] ||
    fail "$target is there and not empty" "name another directory: sh $0 DIRECTORY"
new=
[ -e "$target" ] || new=yes
undo() { # what was made, and nothing else: the directory may have been there
    find "$target/." -mindepth 1 -delete || :
    [ -z "$new" ] || rmdir "$target" || :
    say "nothing was installed"
}
mkdir -p "$target"
trap undo EXIT
trap 'exit 130' INT TERM HUP

say "installing into $target"
archive | tar -xf - -C "$target"
"$python" -m venv "$target/.venv"
PIP_CONFIG_FILE=/dev/null "$target/.venv/bin/python" -m pip install --quiet --no-index --no-deps \
    --disable-pip-version-check "$target"/wheels/*.whl
rm -rf "$target/wheels"

"$target/.venv/bin/python" -m pip check --disable-pip-version-check >&2 ||
    fail "this bundle is not complete: see above" "make another one: k8slab bundle"
"$target/.venv/bin/k8slab" doctor >&2 || [ $? -eq 3 ] || # 3: the system lacks something, as told
    fail "what was installed does not run: see above" "report it to who made the bundle"
trap - EXIT INT TERM HUP
case $target in
*[!A-Za-z0-9_./-]*) target="'$(printf %s "$target" | sed "s/'/'\\\\''/g")'" ;;
esac
say "installed. Next: cd $target && .venv/bin/k8slab lab"
exit 0
