#!/usr/bin/env bash
# Gathers what the Debian package holds and the repository does not, in .cache/package: the program without its symbols, and
# what comes out of it: manual page, completions, changelog.
#   deploy/debian/package.sh PROGRAM
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$1
into=.cache/package
# The time of the last commit: the same sources make the same package.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

rm -rf "$into"
mkdir -p "$into"
strip --strip-unneeded -o "$into/portcullis" "$program"
"$program" man >"$into/portcullis.1"
"$program" completions bash >"$into/portcullis.bash"
"$program" completions zsh >"$into/_portcullis"
"$program" completions fish >"$into/portcullis.fish"
version=$("$program" --version | cut -d ' ' -f 2)
cat >"$into/changelog" <<END
portcullis ($version-1) unstable; urgency=medium

  * See /usr/share/doc/portcullis/CHANGELOG.md.gz.

 -- Portcullis maintainers <portcullis@localhost>  $(date --utc --date "@$SOURCE_DATE_EPOCH" -R)
END
