#!/usr/bin/env bash
# Runs the tests of the library and those over sockets with counters in every line, and says how many lines of each module
# they reached; fails when a module that security rests on is below its mark (report.py). Builds only this crate anew.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
for directory in "$(rustc --print sysroot)"/lib/rustlib/*/bin "/usr/lib/llvm-$version/bin"; do
  if [ -x "$directory/llvm-profdata" ] && [ -x "$directory/llvm-cov" ]; then tools=$directory; break; fi
done
if [ -z "${tools:-}" ]; then
  echo "llvm-cov of LLVM $version is missing: rustup component add llvm-tools, or install the package llvm-$version" >&2
  exit 1
fi

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
place=$CARGO_TARGET_DIR/coverage
rm -rf "$place" && mkdir -p "$place/counts"
# A wrapper for our own crate leaves the dependencies as they were built for the tests.
export RUSTC_WORKSPACE_WRAPPER=$PWD/tests/coverage/rustc.sh
# Runs of one program, processes that tests start among them, add up in a few files. Those that are killed do not count.
export LLVM_PROFILE_FILE="$place/counts/%4m.profraw"

programs=$(cargo test --no-run --message-format=json \
  | python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable"): print(made["executable"])')
failed=0
cargo test "$@" >"$place/tests.log" 2>&1 || failed=$?
tail -n 3 "$place/tests.log"

"$tools/llvm-profdata" merge --sparse --failure-mode=all -o "$place/all.profdata" "$place"/counts/*.profraw
objects=()
for program in $programs; do objects+=(--object "$program"); done
# By line: the summaries of llvm-cov take, of a function that two programs have, what the better of them reached.
"$tools/llvm-cov" export --format=lcov --skip-functions --skip-branches --instr-profile "$place/all.profdata" "${objects[@]}" \
  --ignore-filename-regex '/(\.cargo|rustc)/' >"$place/lines.info"
python3 -B tests/coverage/report.py "$place/lines.info"
exit "$failed"
