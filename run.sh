#!/usr/bin/env bash
# ./run.sh               sets up, makes the small corpus, trains the quickstart model, reports
# ./run.sh test          sets up, checks the code and runs the tests; what follows goes to pytest (-m unit: the fast ones)
# ./run.sh docs          builds the documentation into site/; warnings are errors
# ./run.sh install ...   sets up and installs the extras that are named: cuda, notes, search, serve ...
# ./run.sh resolve       checks that requirements.txt and locks/ are complete; installs nothing
# ./run.sh lock          makes requirements.txt and locks/ again; what follows goes to uv
# ./run.sh --config=...  sets up and passes all flags on to coala_jax.main (paths as from this folder)
#
# COALA_DEVICE=cpu|cuda|tpu     what to install for and to train on; default: what is found
# COALA_CORPUS=debian|synthetic what ./run.sh trains on; default: debian where apt-get is
# COALA_WORKDIR=DIR             where ./run.sh leaves its run; default: runs/quickstart
# PYTHON=python3.12             which Python to use, 3.11 or newer; default: python3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '[run.sh] %s\n' "$*"; }
fail() { printf '[run.sh] %s\n' "$*" >&2; exit 1; }

find_device() {
  if nvidia-smi -L >/dev/null 2>&1; then
    echo cuda
  elif compgen -G '/dev/accel[0-9]*' >/dev/null ||
    { compgen -G '/dev/vfio/[0-9]*' >/dev/null && grep -qs 0x1ae0 /sys/bus/pci/devices/*/vendor; }; then
    echo tpu
  else
    echo cpu
  fi
}

# pip tells a line or more for every package; one that counts is enough.
count_packages() {
  awk '/^ *Collecting / { printf "\r[run.sh]   packages found: %d", ++n; fflush() }
       /^ *Installing collected/ { printf "\n[run.sh]   installing them\n"; n = 0; fflush() }
       END { if (n) print "" }'
}

# install NAME WHAT PIP-ARGUMENTS...: does nothing where the same was installed before.
# Nothing is built with tools that are not of a lock: hence no build isolation.
install() {
  local stamp=.venv/.installed-$1 errors=.venv/.pip-errors what=$2 wanted began=$SECONDS
  wanted="$(cat requirements.txt locks/*.txt pyproject.toml | cksum) $COALA_DEVICE"
  shift 2
  [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && return
  say "installing $what into .venv"
  if ! { .venv/bin/python -m pip install --disable-pip-version-check --no-build-isolation "$@" \
    2>&1 >&3 | tee "$errors" >&2; } 3>&1 | count_packages; then
    ! grep -q 'DO NOT MATCH THE HASHES' "$errors" ||
      fail "nothing was installed: a file is not the one that the lock names (pip says which, above)." \
        "Fix: try again; if it stays, distrust where pip fetches from before you change the lock"
    fail "pip could not install; see its message above"
  fi
  printf '%s' "$wanted" >"$stamp"
  say "installed in $((SECONDS - began)) s"
}

[[ -t 2 ]] || export TQDM_MININTERVAL=10 # a log needs no ten lines a second

python=${PYTHON:-python3}

check_python() {
  command -v "$python" >/dev/null || fail "there is no $python; install Python 3.11 or newer"
  local version
  version=$("$python" -V 2>&1) || fail "$python cannot be run: $version; PYTHON=... chooses another"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is $version; Python 3.11 or newer is needed (PYTHON=... chooses it)"
}

check_device() {
  export COALA_DEVICE=${COALA_DEVICE:-$(find_device)}
  case $COALA_DEVICE in
    cpu) export JAX_PLATFORMS=cpu ;;
    cuda)
      nvidia-smi -L >/dev/null 2>&1 ||
        fail "COALA_DEVICE is cuda, but nvidia-smi finds no GPU; check the driver, or unset it"
      ;;
    tpu) ;;
    *) fail "COALA_DEVICE is $COALA_DEVICE; it must be cpu, cuda or tpu" ;;
  esac
}

set_up() {
  check_python
  check_device
  if [[ ! -x .venv/bin/pip ]]; then
    say "making the environment .venv with $("$python" -V)"
    "$python" -m venv .venv ||
      fail "$python cannot make an environment; on Debian, apt-get install python3-venv"
  fi
  install build "what builds packages" --require-hashes -r locks/build.txt
  install locked "the packages of requirements.txt (1 to 2 minutes)" \
    --require-hashes -r requirements.txt
  [[ $COALA_DEVICE == cpu ]] || install_extra "$COALA_DEVICE"
  install project "coala_jax itself" --no-deps -e .
  # A plain path, too: beside a checkout that is called coala_jax, Python takes the folder of that
  # name for the package, unless the package lies on its path.
  local site
  for site in .venv/lib/python3.*/site-packages; do
    [[ ! -d $site ]] || printf '%s\n' "$PWD" >"$site/coala_jax_checkout.pth"
  done
}

# install_extra EXTRA: its lock holds what it adds to requirements.txt.
install_extra() {
  [[ -f locks/$1.txt ]] || fail "there is no locks/$1.txt; the names of extras are in pyproject.toml"
  install "$1" "the extra $1" --require-hashes -r requirements.txt -r "locks/$1.txt"
  # The only packages without hashes: a build of PyTorch of one's own has another.
  [[ ! -f locks/$1-unhashed.txt ]] ||
    install "$1-unhashed" "PyTorch and TensorFlow" -r "locks/$1-unhashed.txt"
}

install_extras() {
  (($#)) || fail "which extra? Their names are in pyproject.toml: ./run.sh install search"
  set_up
  local extra
  for extra; do
    install_extra "$extra"
  done
}

run_tests() {
  set_up
  install_extra test
  .venv/bin/ruff check .ci docs/conf.py docs/_ext coala_jax configs data_prep experiments benchmarks tests
  .venv/bin/ruff format --check .ci docs/conf.py docs/_ext coala_jax configs data_prep experiments benchmarks tests
  # In the order of the folders: what takes longest, distributed/ and integration/, comes first. By
  # itself xdist leaves the files of few tests to the end, which are those.
  .venv/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile \
    --no-loadscope-reorder "$@"
}

build_docs() {
  set_up
  install_extra docs
  .venv/bin/python -m sphinx -W --keep-going -q docs site
  say "the documentation is site/index.html"
}

run_quickstart() {
  local corpus=${COALA_CORPUS:-} remark='' workdir=${COALA_WORKDIR:-runs/quickstart}
  if [[ -z $corpus ]]; then
    corpus=debian
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
      corpus=synthetic
      remark=', because apt-get and dpkg-deb are not on this machine'
    fi
  fi
  [[ $corpus == debian || $corpus == synthetic ]] ||
    fail "COALA_CORPUS is $corpus; it must be debian or synthetic"
  check_device
  say "quickstart on the $corpus corpus$remark; 3 to 5 minutes, results in $workdir"
  set_up
  .venv/bin/python -m coala_jax.cli demo --corpus="$corpus" --workdir="$workdir"
  say "done in $SECONDS s, on the $corpus corpus$remark; the report is $workdir/report.md"
}

case ${1-} in
  '') run_quickstart ;;
  test)
    shift
    run_tests "$@"
    ;;
  docs) build_docs ;;
  install)
    shift
    install_extras "$@"
    ;;
  resolve)
    check_python
    exec "$python" .ci/resolve.py
    ;;
  lock)
    shift
    check_python
    exec "$python" .ci/lock.py "$@"
    ;;
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
  --*)
    set_up
    exec .venv/bin/python -m coala_jax.main "$@"
    ;;
  *) fail "unknown argument '$1': ./run.sh --help says what there is" ;;
esac
