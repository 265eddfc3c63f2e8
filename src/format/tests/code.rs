//! The definition of the code in docs/format.md, section 7, against the crate that is used: slow and by the formula.

use super::document::document_table;
use reed_solomon_simd::{
    engine::DefaultEngine,
    rate::{HighRateEncoder, RateEncoder as _},
};

const POLYNOMIAL: u32 = 0x1002D;

/// Product of two field elements, by the definition.
fn multiply(a: u16, b: u16) -> u16 {
    let mut product = 0;
    let mut shifted = u32::from(a);
    for bit in 0..16 {
        if b >> bit & 1 == 1 {
            product ^= shifted;
        }
        shifted <<= 1;
        if shifted >> 16 == 1 {
            shifted ^= POLYNOMIAL;
        }
    }
    u16::try_from(product).expect("reduced")
}

/// Inverse of a field element that is not 0: its power 2^16 - 2.
fn inverse(a: u16) -> u16 {
    assert_ne!(a, 0, "0 has no inverse");
    let mut result = 1;
    let mut square = a;
    for _ in 1..16 {
        square = multiply(square, square);
        result = multiply(result, square);
    }
    assert_eq!(multiply(result, a), 1, "inverse of {a}");
    result
}

struct Basis([u16; 16]);

impl Basis {
    fn from_document() -> Self {
        let elements: Vec<u16> = document_table("| Basis |")
            .iter()
            .map(|row| u16::from_str_radix(row[1].trim_start_matches("0x"), 16).expect("hex"))
            .collect();
        Self(elements.try_into().expect("16 elements"))
    }

    /// The element that a number stands for.
    fn element(&self, number: u16) -> u16 {
        (0..16)
            .filter(|bit| number >> bit & 1 == 1)
            .fold(0, |sum, bit| sum ^ self.0[bit])
    }

    /// The number that stands for an element.
    fn number(&self, element: u16) -> u16 {
        (0..=u16::MAX)
            .find(|&number| self.element(number) == element)
            .expect("a basis spans the field")
    }

    /// What data shard `data` contributes to parity shard `parity` for each unit, as an element.
    fn factor(&self, data: u16, parity: u16, parity_count: u16) -> u16 {
        let points = parity_count.next_power_of_two();
        let place = self.element(points + data);
        let above = (0..points).fold(1, |product, v| multiply(product, place ^ self.element(v)));
        let below = (1..points).fold(1, |product, v| multiply(product, self.element(v)));
        let below = multiply(below, place ^ self.element(parity));
        multiply(above, inverse(below))
    }
}

/// Bytes that differ by position, with a period of 251.
fn pattern(start: usize, len: usize) -> Vec<u8> {
    (start..start + len)
        .map(|position| u8::try_from(position * 7 % 251).expect("below 251"))
        .collect()
}

fn symbol(slice: &[u8], index: usize) -> u16 {
    let low = index / 32 * 64 + index % 32;
    u16::from_le_bytes([slice[low], slice[low + 32]])
}

#[test]
fn parity_of_the_crate_is_what_the_formula_in_the_document_says() {
    const SLICE_LEN: usize = 128;
    let basis = Basis::from_document();
    for (data_count, parity_count) in [(1_u16, 1_u16), (2, 1), (3, 2), (5, 3), (4, 4), (2, 5), (30, 3)] {
        let data: Vec<Vec<u8>> = (0..data_count)
            .map(|shard| pattern(usize::from(shard) * 1000, SLICE_LEN))
            .collect();
        let mut encoder = HighRateEncoder::new(
            data_count.into(),
            parity_count.into(),
            SLICE_LEN,
            DefaultEngine::new(),
            None,
        )
        .expect("shape");
        for shard in &data {
            encoder.add_original_shard(shard).expect("length");
        }
        let encoded = encoder.encode().expect("complete");
        for (parity, slice) in (0..parity_count).zip(encoded.recovery_iter()) {
            for index in [0, 31, 32, SLICE_LEN / 2 - 1] {
                let sum = (0..data_count).fold(0, |sum, shard| {
                    let unit = basis.element(symbol(&data[usize::from(shard)], index));
                    sum ^ multiply(basis.factor(shard, parity, parity_count), unit)
                });
                assert_eq!(
                    symbol(slice, index),
                    basis.number(sum),
                    "RS({data_count},{parity_count}) parity {parity} symbol {index}"
                );
            }
        }
    }
}
