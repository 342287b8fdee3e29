#!/bin/sh
# Cargo's wrapper around rustc (RUSTC_WRAPPER): what libFuzzer looks at is put into the crates that read other people's bytes, and
# into no others. It goes through all of it after every input, so that each counter costs time.
rustc=$1
shift
name=
previous=
for argument in "$@"; do
	[ "$previous" = --crate-name ] && name=$argument
	previous=$argument
done
case $name in
portcullis | form_urlencoded | httparse | jsonwebtoken | proxy_header | serde_json | serde_urlencoded | url)
	set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
	# What values are compared with tells libFuzzer what to try next, for a third to a half of the time.
	[ -n "${PORTCULLIS_FUZZ_QUICK:-}" ] || set -- "$@" -Cllvm-args=-sanitizer-coverage-trace-compares
	# A third of the time that the gateway takes to compile, and nothing that a target would notice.
	[ "$name" = portcullis ] && set -- "$@" -Clto=off
	;;
esac
exec "$rustc" "$@"
