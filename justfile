# The words of the project. What `just ci` runs needs Rust alone; the others say what they need.

# Everything that has to hold before a change is done.
ci:
    ./.ci/run

# just bench codec
bench name:
    cargo bench -p bfdb --bench {{name}}

# bfdb beside other tools: just compare --dir /mnt/disk --markdown result.md; takes what --help says
compare *args:
    cargo build --release
    cargo run --release -p bfdb-compare -- {{args}}

# just fuzz frame_header; needs cargo-fuzz and a nightly compiler
fuzz target:
    cd fault-injection && cargo +nightly fuzz run {{target}}

# Needs cargo-deny.
deny:
    cargo deny check
