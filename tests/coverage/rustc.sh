#!/bin/sh
# What cargo calls instead of rustc for the crates of this repository: the same, with counters, which can lie in a mapped file
# so that a process that is killed has counted, too.
exec "$@" -Cinstrument-coverage -Cllvm-args=-runtime-counter-relocation
