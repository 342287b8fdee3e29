#!/bin/sh
# What cargo calls instead of rustc for the crates of this repository: the same, with counters.
exec "$@" -Cinstrument-coverage
