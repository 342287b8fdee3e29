# What the tests of the package begin with. Sourced, at the root of the repository.

# Who lacks what it takes is told. Arguments: what for, and the target to call.
needs_root() {
    [ "$(id -u)" = 0 ] || { echo "$1 needs root: sudo make $2" >&2; exit 1; }
}

# Packages the program as it is built for tests, in .cache/package.deb.
make_package() {
    # With what the tests are built with, so that nothing is compiled twice.
    cargo test --no-run --quiet --test it
    deploy/debian/package.sh "${CARGO_TARGET_DIR:-$PWD/target}/debug/portcullis"
    cargo deb --no-build --no-strip --fast --locked --quiet --output .cache/package.deb
}

# Unpacks a clean system at $root, which ends with the script. Arguments: a name for it, mmdebstrap's variant, packages.
# Of this machine's own release: the program needs no newer C library than there is.
make_system() {
    local release system
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    system=.cache/$1-$release.tar
    if [ ! -s "$system" ]; then
        mmdebstrap --quiet --format=tar --variant="$2" --include="$3" "$release" "$system.new"
        mv "$system.new" "$system"
    fi
    root=$(mktemp -d)
    trap 'rm -rf --one-file-system "$root"' EXIT
    tar --extract --file "$system" --directory "$root"
    chmod 755 "$root"
}
