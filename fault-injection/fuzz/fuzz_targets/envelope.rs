//! Gets the fuzzer past the checksum, which it would not guess in years.

/// Runs `rewrite` (parse, then encode again) on the input as it is, and as the fields of a record of `len` bytes with
/// the right magic, version and checksum. What is accepted must be exactly what would be written.
pub(crate) fn check(input: &[u8], magic: [u8; 8], len: usize, rewrite: fn(&[u8]) -> Option<Vec<u8>>) {
    let compare = |bytes: &[u8]| {
        if let Some(written) = rewrite(bytes) {
            assert_eq!(
                bytes.get(..len),
                Some(&*written),
                "a parser accepts what an encoder writes, nothing else"
            );
        }
    };
    compare(input);

    let mut forged = magic.to_vec();
    forged.extend(1_u16.to_le_bytes());
    forged.extend(input);
    forged.resize(len - 4, 0);
    let crc = crc32fast::hash(&forged);
    forged.extend(crc.to_le_bytes());
    compare(&forged);
}
