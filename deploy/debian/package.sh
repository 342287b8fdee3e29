#!/usr/bin/env bash
# Makes what the Debian package holds besides the program: manual page, completions, changelog. They come out of the program
# itself, into the directory `package` beside it.
#   deploy/debian/package.sh PROGRAM
set -euo pipefail

program=$1
into=$(dirname "$program")/package
# The time of the last commit: the same sources make the same package.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

mkdir -p "$into"
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
